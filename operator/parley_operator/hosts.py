"""The agents' hosts, asked over HTTP: how their versions do. Any host of an agent answers for all of its versions."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from parley_core.bearer import Bearer
from parley_core.errors import ConfigurationError, Unavailable
from parley_operator.answers import TooLarge, read_at_most
from parley_registry.client import VersionFigures, figures_from

_LARGEST = 16 * 2**20
"""Bytes of an answer at most: a host of somebody's may answer anything."""


class HostUnavailable(Unavailable):
    """No host of the agent answers as hosts do."""


class Hosts:
    """Calls to hosts with a token of the operator's that is good for hosts alone. Use as an async context manager.

    `address` is where a Service of the cluster is reached, `{ip}`, `{name}`, `{namespace}` and `{port}` being the
    Service's.
    """

    def __init__(
        self, address: str = "http://{ip}:{port}", *, token: Bearer | None = None, timeout: float = 5.0
    ) -> None:
        self._address = address
        self._token = token
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=32, force_close=True
            ),  # else one pod would be asked for ever
            timeout=aiohttp.ClientTimeout(total=self._timeout),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def figures(self, service: Mapping[str, Any], since: float) -> dict[str, VersionFigures]:
        """How each version does, by what ended in the last `since` seconds. Raises HostUnavailable."""
        told = await self._get(service, f"/parley/v1/versions?since={max(1.0, since):.0f}")
        try:
            found = [figures_from(one) for one in told["versions"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HostUnavailable("what answers there tells no figures as a host does") from error
        return {one.version: one for one in found}

    async def _get(self, service: Mapping[str, Any], path: str) -> Any:
        spec, meta = service.get("spec") or {}, service["metadata"]
        ports = spec.get("ports") or [{}]
        url = self._address.format(
            ip=spec.get("clusterIP", ""),
            name=meta["name"],
            namespace=meta["namespace"],
            port=ports[0].get("port", ""),
        )
        try:
            headers = {"authorization": f"Bearer {self._token.text}"} if self._token else {}
            async with self._session.get(url + path, headers=headers, allow_redirects=False) as response:
                text = await read_at_most(response, _LARGEST)
                if response.status >= 300:
                    raise HostUnavailable(f"a host answers {response.status} to GET {path}")
                return orjson.loads(text) if text else None
        except (aiohttp.ClientError, TimeoutError, OSError, ConfigurationError) as error:
            raise HostUnavailable(f"no host answers ({error or type(error).__name__})") from error
        except TooLarge as error:
            raise HostUnavailable("a host answers with more than 16 MiB") from error
        except orjson.JSONDecodeError as error:
            raise HostUnavailable("what answers there is no host: it is not JSON") from error
