"""`parley-operator`: the program."""

import asyncio
import signal
import sys
from collections.abc import Iterator

from pydantic import ValidationError
from pydantic_settings import CliApp

from parley_core.errors import ParleyError
from parley_core.telemetry import configure_logging
from parley_operator.kube.access import find_access
from parley_operator.operator import Operator
from parley_operator.options import Options


def main() -> None:
    """Run as told on the command line and in the environment. Exits with 2 when that makes no sense, with 1 when it
    cannot go on."""
    try:
        options = CliApp.run(Options).checked()
        access = find_access(options.kubeconfig, options.context)
    except ValidationError as error:
        for fault in error.errors():
            field = "-".join(map(str, fault["loc"])).replace("_", "-")
            sys.stderr.write(f"parley-operator: --{field}: {fault['msg']}\n")
        sys.exit(2)
    except ParleyError as error:
        sys.stderr.write(f"parley-operator: {error}\n")
        sys.exit(2)
    configure_logging(options.log_level)
    failures: list[BaseException] = []
    try:
        asyncio.run(_run(Operator(options, access)))
    except* ParleyError as errors:
        failures = list(_each(errors))
    for failure in failures:
        sys.stderr.write(f"parley-operator: {failure}\n")
    sys.exit(1 if failures else 0)


def _each(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _each(one)
    else:
        yield error


async def _run(operator: Operator) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await operator.run(stop)
