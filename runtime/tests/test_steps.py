"""Durable steps, apart from any host."""

import pytest

from parley_runtime.steps import Scope, StepError, current_steps, step
from parley_runtime.store import StepRecord


class Kept:
    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    def finished(self, name: str, scope: Scope) -> bytes | None:
        return self.kept.get((scope, name))

    async def keep(self, record: StepRecord, scope: Scope) -> None:
        self.kept[scope, record.name] = record.result


@pytest.fixture
def kept() -> Kept:
    return Kept()


async def test_outside_a_host_a_step_is_a_call() -> None:
    assert await step("x", lambda a: a + 1, 2) == 3


@pytest.mark.parametrize("result", [None, 1, "é", {"a": [1, 2.5, None]}, b"\x00raw", []])
async def test_a_kept_result_comes_back_as_it_was(kept: Kept, result: object) -> None:
    ran = []

    async def work() -> object:
        ran.append(1)
        return result

    token = current_steps.set(kept)
    try:
        assert await step("x", work) == result
        assert await step("x", work) == result
        assert await step("x", work, scope="task") == result
    finally:
        current_steps.reset(token)
    assert len(ran) == 2


async def test_the_first_run_returns_what_a_later_one_will(kept: Kept) -> None:
    token = current_steps.set(kept)
    try:
        assert await step("x", lambda: (1, 2)) == [1, 2]
    finally:
        current_steps.reset(token)


async def test_a_result_that_cannot_be_kept_is_refused_with_what_to_do(kept: Kept) -> None:
    token = current_steps.set(kept)
    try:
        with pytest.raises(StepError, match="return bytes, or plain dicts"):
            await step("x", object)
    finally:
        current_steps.reset(token)


async def test_a_failure_is_not_kept(kept: Kept) -> None:
    token = current_steps.set(kept)
    try:
        with pytest.raises(ZeroDivisionError):
            await step("x", lambda: 1 / 0)
    finally:
        current_steps.reset(token)
    assert kept.kept == {}
