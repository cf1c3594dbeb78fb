"""A worker's tokens: which came, which are bound to an execution, which can go back."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from parley_runtime.rocketmq.messages import Received
from parley_runtime.store import Work


@dataclass(slots=True, eq=False)
class Token:
    """One received message of the queue: "there is one more entry". `leased`: when, by the monotonic clock, the broker
    last gave it to this worker. `done`: to be acknowledged."""

    message: Received
    leased: float
    done: bool = False
    extending: bool = False


class Tokens:
    """Each execution holds one token, if there was one; the rest waits for the worker to look."""

    def __init__(self) -> None:
        self._loose: deque[Token] = deque()
        self._bound: dict[tuple[str, int], Token] = {}
        self._done: list[Token] = []

    @property
    def loose(self) -> int:
        """How many no execution holds."""
        return len(self._loose)

    def came(self, messages: Iterable[Received]) -> None:
        now = time.monotonic()
        self._loose.extend(Token(message, now) for message in messages)

    def bind(self, work: Work) -> None:
        """An execution has begun: it takes a token, if there is one."""
        if self._loose:
            self._bound[work.task_id, work.epoch] = self._loose.popleft()

    def release(self, work: Work) -> None:
        """The execution is over."""
        if (token := self._bound.pop((work.task_id, work.epoch), None)) is not None:
            self._finish(token)

    def spent(self) -> None:
        """The worker looked and there was no more: the loose tokens stand for nothing."""
        while self._loose:
            self._finish(self._loose.popleft())

    def due(self, age: float) -> tuple[list[Token], list[Token]]:
        """Of the tokens leased more than `age` seconds ago: which to extend (bound), which to give back (loose: this
        worker has not come to look for so long). The latter are not ours any more."""
        before = time.monotonic() - age
        extend = [t for t in self._bound.values() if t.leased < before and not t.extending]
        back = [t for t in self._loose if t.leased < before]
        for token in back:
            self._loose.remove(token)
        return extend, back

    def extended(self, token: Token) -> None:
        """The broker has given it again."""
        token.leased, token.extending = time.monotonic(), False
        if token.done:
            self._done.append(token)

    def lost(self, token: Token) -> None:
        """The broker has given it to somebody else, or forgotten it."""
        for key in [key for key, held in self._bound.items() if held is token]:
            del self._bound[key]

    def take_done(self) -> list[Token]:
        """What is to be acknowledged now."""
        done, self._done = self._done, []
        return done

    def take_all(self) -> list[Token]:
        """All that is neither done nor in an execution's hands, to be given back."""
        left = list(self._loose)
        self._loose.clear()
        return left

    def _finish(self, token: Token) -> None:
        token.done = True
        if not token.extending:  # else it is about to get another handle
            self._done.append(token)
