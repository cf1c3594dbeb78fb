"""Push notifications of one host: configurations, the outbox, and the sender that empties it."""

import uuid
from collections.abc import Sequence

from parley_core.urlguard import UrlGuard, allowed
from parley_runtime.push.configs import PushConfigs
from parley_runtime.push.outbox import Failure, Outbox
from parley_runtime.push.policy import PushPolicy
from parley_runtime.push.sender import Sender


class PushService(PushConfigs):
    """What the front and the host need of push.

    `allow` are CIDR networks that webhooks may be in although they are not public, and names of hosts that they may be at
    wherever these are; `give_up` is for how many seconds a notification is tried.
    """

    def __init__(self, outbox: Outbox, allow: Sequence[str], *, give_up: float) -> None:
        networks, hosts = allowed(allow)
        guard = UrlGuard(networks, hosts=hosts)
        super().__init__(outbox, guard)
        self._sender = Sender(outbox, guard, uuid.uuid4().hex, PushPolicy(give_up=give_up))

    def wake(self) -> None:
        """Say that there may be something new to send."""
        self._sender.wake()

    async def run(self) -> None:
        """Send until cancelled."""
        await self._sender.run()

    async def failures(self, task_id: str) -> Sequence[Failure]:
        """What of a task did not arrive and why, in order."""
        return await self._outbox.failures(task_id)
