"""Push configurations as the operations of A2A handle them (sections 3.1.7 to 3.1.10)."""

import re
from collections.abc import Sequence

from a2a.types import a2a_pb2 as pb

from parley_core.urlguard import UrlGuard, UrlRefused
from parley_runtime.push.outbox import Outbox
from parley_runtime.rules import invalid
from parley_runtime.store import MOST_PUSH_CONFIGS

_SCHEME = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")
_HEADER_VALUE = re.compile(r"^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$")
_MAX_SECRET = 8192


class PushConfigs:
    """Checks configurations and keeps them in the outbox. Errors are a2a-sdk's."""

    def __init__(self, outbox: Outbox, guard: UrlGuard) -> None:
        self._outbox = outbox
        self._guard = guard

    async def check(self, config: pb.TaskPushNotificationConfig) -> None:
        """Raises InvalidParamsError, which names the field, for one that could not or must not be called."""
        if len(config.id) > 256:
            raise invalid("id", "longer than 256 characters; use a shorter one")
        _header_value("token", config.token)
        if config.HasField("authentication"):
            if not _SCHEME.match(config.authentication.scheme):
                raise invalid(
                    "authentication.scheme", "not the name of an HTTP scheme; use for example Bearer"
                )
            _header_value("authentication.credentials", config.authentication.credentials)
        try:
            await self._guard.check(config.url)
        except UrlRefused as refused:
            raise invalid("url", str(refused)) from None

    async def set(self, owner: str, config: pb.TaskPushNotificationConfig) -> pb.TaskPushNotificationConfig:
        """Keep a checked configuration, in place of the one of that id; what is kept is returned."""
        if not await self._outbox.set(owner, config, MOST_PUSH_CONFIGS):
            raise invalid(
                "taskId",
                f"the task already has {MOST_PUSH_CONFIGS} push configurations; delete one first",
            )
        return config

    async def get(self, owner: str, task_id: str, config_id: str) -> pb.TaskPushNotificationConfig | None:
        """The configuration with its credentials, for its owner alone; None when there is none."""
        return await self._outbox.get(owner, task_id, config_id)

    async def list(self, owner: str, task_id: str) -> Sequence[pb.TaskPushNotificationConfig]:
        """All configurations of a task, oldest first."""
        return await self._outbox.list(owner, task_id)

    async def delete(self, owner: str, task_id: str, config_id: str) -> None:
        """Send nothing to it any more; deleting what is not there is fine."""
        await self._outbox.delete(owner, task_id, config_id)


def _header_value(name: str, value: str) -> None:
    if value and (len(value) > _MAX_SECRET or not _HEADER_VALUE.match(value)):
        raise invalid(name, f"it must be at most {_MAX_SECRET} printable ASCII characters")
