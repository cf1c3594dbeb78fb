"""Clients that send messages, follow streams and cancel, at whichever front answers, until each exchange is over."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
from replicas import HEADERS, message, request

from campaign.history import History
from campaign.seen import ENDED, Look, Read, Seen

_RETRIABLE = frozenset({"UNAVAILABLE", "OVERLOADED", "RESOURCE_EXHAUSTED"})
_PATIENCE = 20.0
"""Seconds a client waits for an answer, or for a stream's next event, before it asks another front."""


class TryAgain(Exception):
    """The call failed in a way that says: the same call may succeed later, or elsewhere."""


class Refused(Exception):
    """The call failed for good: the JSON-RPC code and message."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code = int(error["code"])


class Client:
    """One client. `run` begins one exchange after another until told to stop, and each is brought to its end."""

    def __init__(
        self, number: int, seed: int, fronts: list[str], history: History, seen: Seen, hook: str
    ) -> None:
        self.name = f"client-{number}"
        self._dice = random.Random(f"{self.name}-{seed}")
        self._fronts = fronts
        self._history = history
        self._seen = seen
        self._hook = hook
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(_PATIENCE, connect=2.0), headers=HEADERS)

    async def run(self, stop: asyncio.Event) -> None:
        """Exchange after exchange, the last begun before `stop`."""
        exchanges = [self._waits, self._streams, self._follows, self._asks, self._cancels, self._replies]
        weights = [4, 4, 3, 2, 2, 1]
        async with self._http:
            while not stop.is_set():
                [exchange] = self._dice.choices(exchanges, weights)
                await exchange()
                await asyncio.sleep(self._dice.uniform(0, 0.2))

    # -- exchanges

    def _order(self) -> str:
        chunks, pause = self._dice.randint(2, 40), self._dice.choice((1, 5, 20, 50))
        return self._dice.choice(
            ("quick", "quick", f"count {chunks} {pause}", f"steps {self._dice.randint(1, 4)} {pause * 4}")
        )

    async def _waits(self) -> None:
        task = await self._send(self._message(self._order()))
        await self._look(task["id"], until_ended=True)

    async def _streams(self) -> None:
        said = self._message(self._order())
        await self._read(said, None)

    async def _follows(self) -> None:
        task = await self._send(self._message(self._order()), wait=False)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._dice.randint(1, 2)):
                group.create_task(self._read(None, task["id"]))
            group.create_task(self._look(task["id"], until_ended=True))

    async def _asks(self) -> None:
        task = await self._send(self._message("ask"))
        self._must(task["id"], task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED", f"asked: {task}")
        said = self._message("answer", task["id"])
        if self._dice.random() < 0.5:
            await self._read(said, None)
        else:
            await self._send(said)
        await self._look(task["id"], until_ended=True)

    async def _cancels(self) -> None:
        task = await self._send(self._message("long"), wait=False)
        await asyncio.sleep(self._dice.uniform(0, 1.0))
        self._seen.cancelled.add(task["id"])
        try:
            await self._call("CancelTask", {"id": task["id"]}, task["id"])
        except Refused as refused:  # it had ended, by an earlier try of this call or by itself
            self._must(task["id"], refused.code == -32002, f"cancel was answered {refused}")
        await self._look(task["id"], until_ended=True)

    async def _replies(self) -> None:
        said = self._message("reply", push=False)
        result = await self._call("SendMessage", said)
        text = result.get("message", {}).get("parts", [{}])[0].get("text", "")
        self._must("", text.startswith("reply to "), f"a plain answer was {result}")
        self._seen.tasks[said["message"]["messageId"]].add(text.removeprefix("reply to "))

    # -- calls

    def _message(self, text: str, task: str = "", *, push: bool = True) -> dict[str, Any]:
        said = message(text, **({"taskId": task} if task else {}))
        self._seen.sent[said["messageId"]] = text
        params: dict[str, Any] = {"message": said, "configuration": {}}
        if push and not task and self._dice.random() < 0.4:
            params["configuration"]["taskPushNotificationConfig"] = {"url": self._hook, "id": "hook"}
        return params

    async def _send(self, said: dict[str, Any], *, wait: bool = True) -> dict[str, Any]:
        """Send until it is answered; the Task of the answer."""
        params = {**said, "configuration": {**said["configuration"], "returnImmediately": not wait}}
        result = await self._call("SendMessage", params, said["message"].get("taskId", ""))
        task: dict[str, Any] = result["task"]
        self._belongs(said, task["id"])
        over = self._judge(task) or task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        self._must(task["id"], over or not wait, f"a sender who waits was answered {task['status']}")
        return task

    def _belongs(self, said: dict[str, Any], task: str) -> None:
        sent = said["message"]
        self._seen.tasks[sent["messageId"]].add(task)
        if "taskId" not in sent:
            self._seen.orders[task] = sent["parts"][0]["text"]
            if "taskPushNotificationConfig" in said["configuration"]:
                self._seen.pushed.add(task)

    async def _look(self, task: str, *, until_ended: bool = False) -> None:
        while True:
            got = await self._call("GetTask", {"id": task}, task)
            if self._judge(got) or not until_ended:
                return
            await asyncio.sleep(0.2)

    def _judge(self, task: dict[str, Any]) -> bool:
        ended = task["status"]["state"].removeprefix("TASK_STATE_") in ENDED
        if ended:
            self._seen.results[task["id"]].append(task)
        return ended

    async def _call(self, method: str, params: dict[str, Any], task: str = "") -> dict[str, Any]:
        """Ask one front after another until one answers; its result. Raises Refused."""
        name = uuid.uuid4().hex[:6]
        while True:
            front = self._dice.choice(self._fronts)
            asked = self._history.now
            self._history.note(self.name, method, task, call=name, front=front[-5:], **_brief(params))
            try:
                result = await self._once(front, method, params)
            except TryAgain as why:
                self._history.note(self.name, "again", task, call=name, why=why)
                await asyncio.sleep(self._dice.uniform(0.05, 0.4))
                continue
            except Refused as why:
                self._history.note(self.name, "refused", task, call=name, why=why)
                raise
            got = result.get("task", result)
            generation = int(got.get("metadata", {}).get("parley.dev/generation", 0))
            self._history.note(
                self.name, "ok", got.get("id", task), call=name, state=_state(got), generation=generation
            )
            if generation:
                self._seen.looks.append(Look(got["id"], generation, asked, self._history.now))
            return result

    async def _once(self, front: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._http.post(f"{front}/a2a/jsonrpc", content=request(method, params))
        except httpx.TransportError as error:
            raise TryAgain(type(error).__name__) from error
        return _result(answer.status_code, answer.content)

    # -- streams

    async def _read(self, said: dict[str, Any] | None, task: str | None) -> None:
        """Read a stream to its end: of a message that it sends, or of a task; again elsewhere when it breaks."""
        read = Read(self.name, task or "")
        self._seen.streams.append(read)
        while True:
            method, params, after = self._next_request(read, said)
            front = self._dice.choice(self._fronts)
            self._history.note(self.name, method, read.task, front=front[-5:], after=after)
            try:
                async for number, event in self._events(front, method, params, after):
                    self._heard(read, said, number, event, fresh=after is None)
                    after = number
                if read.state in ENDED:
                    return
                raise TryAgain("ended before its task")
            except TryAgain as why:
                self._history.note(self.name, "again", read.task, at=after, why=why)
                await asyncio.sleep(self._dice.uniform(0.05, 0.4))
            except Refused as why:
                self._history.note(self.name, "refused", read.task, at=after, why=why)
                # The task may have ended before the first look at it, and is then only to be got.
                over = after is None and said is None and why.code == -32004
                self._must(read.task, over, f"a stream was answered {why}")
                return

    def _next_request(
        self, read: Read, said: dict[str, Any] | None
    ) -> tuple[str, dict[str, Any], int | None]:
        after = read.events[-1][0] if read.events else read.head or None
        if said is not None and (not read.task or self._dice.random() < 0.3):
            return "SendStreamingMessage", said, after
        return "SubscribeToTask", {"id": read.task}, after

    async def _events(
        self, front: str, method: str, params: dict[str, Any], after: int | None
    ) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        number = -1
        try:
            async with self._http.stream(
                "POST", f"{front}/a2a/jsonrpc", content=request(method, params), headers=headers
            ) as answer:
                if not answer.headers["content-type"].startswith("text/event-stream"):
                    _result(answer.status_code, await answer.aread())
                    raise TryAgain("a stream was answered by a plain result")
                async for line in answer.aiter_lines():
                    if line.startswith("id:"):
                        number = int(line[3:])
                    elif line.startswith("data:"):
                        yield number, _result(answer.status_code, line[5:].encode())
        except httpx.TransportError as error:
            raise TryAgain(type(error).__name__) from error

    def _heard(
        self, read: Read, said: dict[str, Any] | None, number: int, event: dict[str, Any], *, fresh: bool
    ) -> None:
        inner = _inner(event)
        follow_up = said is not None and "taskId" in said["message"]
        if not read.task:
            read.task = inner.get("taskId") or inner["id"]
            assert said is not None
            self._belongs(said, read.task)
        if fresh and not read.events and not read.head and (said is None or follow_up):
            read.head = number  # such a stream begins with the task as it was, not with an event
        else:
            read.events.append((number, event))
        read.state = _state(inner)
        self._history.note(self.name, "event", read.task, generation=number, state=read.state)
        self._seen.looks.append(Look(read.task, number, 0.0, self._history.now))

    def _must(self, task: str, true: bool, what: str) -> None:
        if not true:
            self._history.note(self.name, "WRONG", task, what=what)
            self._seen.wrong.append((task, what))


def _result(status: int, content: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise TryAgain(f"{status} without JSON") from error
    if "result" in body:
        result: dict[str, Any] = body["result"]
        return result
    failed = body["error"]
    reasons = {d.get("reason", "") for d in failed.get("data") or []}
    if reasons & _RETRIABLE:
        raise TryAgain(f"{status} {sorted(reasons)}")
    raise Refused(failed)


def _inner(event: dict[str, Any]) -> dict[str, Any]:
    [inner] = event.values()
    return dict(inner)


def _state(inner: dict[str, Any]) -> str:
    return str(inner.get("status", {}).get("state", "")).removeprefix("TASK_STATE_")


def _brief(params: dict[str, Any]) -> dict[str, str]:
    said = params.get("message")
    return {"message": said["messageId"][:8], "says": said["parts"][0]["text"]} if said else {}
