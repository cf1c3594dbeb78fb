"""What a job of the team begins with: the words, a snapshot of the repository or what an earlier job made of it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from parley_agents.artifacts import REQUEST
from parley_agents.bundles import Exchange
from parley_agents.git import GitError
from parley_agents.snapshot import Snapshot, snapshot
from parley_cli.jobs import Jobs, NoSuchTask, Remembered
from parley_core.errors import ConfigurationError


class BadRepository(ConfigurationError):
    """What was given as the repository is none that can be worked on."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a job is begun with. `bundle` holds the snapshot, `change` what `earlier` delivered on top of it."""

    text: str
    context: str
    out: Path
    repo: str = ""
    taken: Snapshot | None = None
    earlier: Remembered | None = None
    bundle: bytes = b""
    change: bytes = b""

    @property
    def base(self) -> str:
        """The snapshot's commit; "" when there is none."""
        return self.taken.commit if self.taken else self.earlier.snapshot if self.earlier else ""


async def gather(
    jobs: Jobs, agent: str, task: str, repo: str | Path | None, context: str, out: str | Path
) -> Given:
    """What a new job works on: a snapshot of the repository, or what an earlier job with `agent` began from and
    made.

    Raises BadRepository, NoSuchTask.
    """
    if repo is not None:
        try:
            taken = await snapshot(_folder(repo))
        except GitError as error:
            raise BadRepository(str(error)) from error
        context = jobs.last_in(agent, context).context if context == "last" else context
        place = str(_folder(repo))
        return Given(task, context, Path(out), place, taken, bundle=taken.bundle)
    if not context:
        return Given(task, "", Path(out))
    earlier = jobs.last_in(agent, context)
    bundle, change = jobs.bundle(earlier, "snapshot"), jobs.bundle(earlier, "change")
    if not bundle:
        raise NoSuchTask(
            f"the snapshot of job {earlier.task[:8]} is no longer kept: name the repository again"
        )
    return Given(
        task,
        earlier.context,
        Path(out),
        earlier=earlier,
        bundle=bundle,
        change=change if earlier.delivered else b"",
    )


async def message_for(given: Given, exchange: Exchange, options: Mapping[str, Any]) -> pb.Message:
    """The message that begins the job; `options` without a value are left out."""
    chosen = {name: value for name, value in options.items() if value is not None}
    request: dict[str, Any] = {"goal": given.text, "options": chosen}
    message = pb.Message(message_id=str(uuid.uuid4()), role=pb.ROLE_USER, context_id=given.context)
    message.parts.add(text=given.text, media_type="text/plain")
    data = message.parts.add(media_type=REQUEST)
    if given.base:
        request["base"] = {"commit": given.base}
        message.parts.append(await exchange.bundle_part(given.base, given.bundle))
    if given.earlier and given.change:
        request["change"] = {"commit": given.earlier.delivered, "prerequisite": given.base}
        message.parts.append(await exchange.bundle_part(given.earlier.delivered, given.change))
    ParseDict(request, data.data)
    return message


def _folder(repo: str | Path) -> Path:
    """The folder a user means, `~` included."""
    return Path(repo).expanduser().absolute()
