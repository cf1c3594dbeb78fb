"""What others say of a canary: Prometheus, by a query, and services of one's own, by a POST."""

import asyncio
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from parley_operator.answers import read_at_most
from parley_operator.asking import Question, filled
from parley_operator.observed import Check, Object
from parley_operator.resources.rollout import Prometheus, Webhook

_FRESH = 10.0
"""Seconds for which an answer counts."""
_LARGEST = 2**20
"""Bytes of an answer at most: anything may be at the address."""
_REMEMBERED = 2000
_REASON = 300


class Checks:
    """Asks, and remembers the answers for a while. Use as an async context manager.

    The addresses are those of who may write Agents. They are called without any credentials of ours, redirects are not
    followed, and of what is answered no more than a verdict and a short reason goes any further.
    """

    def __init__(self, *, timeout: float = 5.0) -> None:
        self._timeout = timeout
        self._known: dict[tuple[str, str, str, Question], tuple[float, Check]] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout), connector=aiohttp.TCPConnector(limit=16)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(
        self, agent: Object, current: str, canary: str, questions: tuple[Question, ...]
    ) -> dict[str, Check]:
        """The answers by the questions' names; none is missing, and none takes longer than the timeout."""
        answers = await asyncio.gather(*(self._answer(agent, current, canary, one) for one in questions))
        return {one.name: answer for one, answer in zip(questions, answers, strict=True)}

    async def _answer(self, agent: Object, current: str, canary: str, question: Question) -> Check:
        key = (str(agent["metadata"].get("uid")), current, canary, question)
        now = asyncio.get_running_loop().time()
        if key in self._known and now - self._known[key][0] < _FRESH:
            return self._known[key][1]
        try:
            if isinstance(question.check, Prometheus):
                found = await self._prometheus(question.check, agent, current, canary)
            else:
                found = await self._webhook(question.check, agent, current, canary)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
            found = Check(None, f"{question.name} gave no answer ({type(error).__name__}: {error})"[:_REASON])
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = (now, found)
        return found

    async def _prometheus(self, check: Prometheus, agent: Object, current: str, canary: str) -> Check:
        query = filled(check.query, agent, current, canary)
        told = await self._json("GET", f"{check.url.rstrip('/')}/api/v1/query", params={"query": query})
        data = told["data"]
        if data["resultType"] == "scalar":
            values = [data["result"][1]]
        else:
            values = [one["value"][1] for one in data["result"]]
        if len(values) != 1:
            return Check(None, f"{check.name}: the query gives {len(values)} values, not one")
        number = float(values[0])
        if not math.isfinite(number):
            return Check(None, f"{check.name}: the query gives {number}")
        if check.max is not None and number > check.max:
            return Check(False, f"{check.name} is {number:g}, above {check.max:g}")
        if check.min is not None and number < check.min:
            return Check(False, f"{check.name} is {number:g}, below {check.min:g}")
        return Check(True, f"{check.name} is {number:g}")

    async def _webhook(self, check: Webhook, agent: Object, current: str, canary: str) -> Check:
        meta = agent["metadata"]
        body = {
            "agent": meta["name"],
            "namespace": meta["namespace"],
            "version": canary,
            "current": current,
        }
        told = await self._json("POST", check.url, headers=check.headers, data=orjson.dumps(body))
        if not isinstance(told["passed"], bool):
            return Check(None, f"{check.name}: passed is neither true nor false")
        reason = str(told.get("reason") or ("passed" if told["passed"] else "not passed"))
        return Check(told["passed"], f"{check.name}: {reason}"[:_REASON])

    async def _json(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Any:
        sent = {"content-type": "application/json", **(headers or {})}
        async with self._session.request(
            method, url, headers=sent, allow_redirects=False, **options
        ) as response:
            text = await read_at_most(response, _LARGEST)
            if response.status != 200:
                raise ValueError(f"it answered {response.status}")
            return orjson.loads(text)
