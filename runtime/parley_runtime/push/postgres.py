"""The outbox on the PostgreSQL store: configurations for now; sending follows."""

from collections.abc import Sequence

from a2a.types import a2a_pb2 as pb

from parley_runtime.push.outbox import Delivery, Failure, Gate, OutboxState
from parley_runtime.stores.postgres import PostgresStore


class PostgresOutbox:
    """See `parley_runtime.push.outbox.Outbox`."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def lease(self, sender: str, limit: int, seconds: float, gate: Gate) -> Sequence[Delivery]:
        return ()

    async def delivered(self, delivery: Delivery, sender: str, then: float = 0.0) -> Delivery | None:
        raise NotImplementedError

    async def retry(self, delivery: Delivery, sender: str, at: float, reason: str) -> None:
        raise NotImplementedError

    async def release(self, delivery: Delivery, sender: str) -> None:
        raise NotImplementedError

    async def give_up(
        self, delivery: Delivery, sender: str, reason: str, created_before: float = 0.0
    ) -> None:
        raise NotImplementedError

    async def stop(self, delivery: Delivery, sender: str, reason: str) -> None:
        raise NotImplementedError

    async def set(self, owner: str, config: pb.TaskPushNotificationConfig, limit: int) -> bool:
        raise NotImplementedError

    async def get(self, owner: str, task_id: str, config_id: str) -> pb.TaskPushNotificationConfig | None:
        raise NotImplementedError

    async def list(self, owner: str, task_id: str) -> Sequence[pb.TaskPushNotificationConfig]:
        raise NotImplementedError

    async def delete(self, owner: str, task_id: str, config_id: str) -> None:
        raise NotImplementedError

    async def failures(self, task_id: str) -> Sequence[Failure]:
        raise NotImplementedError

    async def state(self) -> OutboxState:
        return OutboxState(0, 0.0, 0)

    async def forget(self, given_up_before: float) -> int:
        return 0
