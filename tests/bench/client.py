"""The load: a bare HTTP/1.1 client on httptools, cheap enough not to be what is measured."""

import asyncio
import itertools
import os
from collections.abc import Callable
from typing import Any

import httptools
import orjson

_ids = itertools.count()
_RUN = os.urandom(6).hex()

Heard = Callable[[list[bytes]], bool | None]


class CallFailed(RuntimeError):
    """The server answered with something that makes the measurement worthless."""


class Connection(asyncio.Protocol):
    """One keep-alive connection; one call at a time."""

    def __init__(self, port: int) -> None:
        self._head = (
            f"POST /a2a/jsonrpc HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nA2A-Version: 1.0\r\n"
            "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: "
        ).encode()
        self._transport: asyncio.WriteTransport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[bytes] | None = None
        self._body = b""
        self._heard: Heard | None = None
        self._events: list[bytes] = []

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """A connection to a server on this machine."""
        _, made = await asyncio.get_running_loop().create_connection(lambda: cls(port), "127.0.0.1", port)
        return made

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """The result of an operation. Raises CallFailed with its error."""
        answer = orjson.loads(await self.raw(request(method, params)))
        if "result" not in answer:
            raise CallFailed(f"{method}: {answer}")
        return answer["result"]

    async def raw(self, body: bytes) -> bytes:
        """The body that answers this body."""
        self._heard = None
        return await self._post(body)

    async def stream(self, body: bytes, heard: Heard) -> None:
        """Hand the data of each server-sent event on as it arrives, some at a time, until the stream ends or
        `heard` returns True (the connection is closed then)."""
        self._heard = heard
        rest = await self._post(body)
        if rest.strip():
            raise CallFailed(f"not a stream: {rest[:300]!r}")

    def close(self) -> None:
        """Close the connection; a call that runs fails."""
        if self._transport is not None:
            self._transport.close()

    async def _post(self, body: bytes) -> bytes:
        assert self._transport is not None
        if self._transport.is_closing():
            raise CallFailed(
                "the server has closed this connection, as servers do when it is idle; open another"
            )
        self._answer = asyncio.get_running_loop().create_future()
        self._body = b""
        self._transport.write(self._head + b"%d\r\n\r\n" % len(body) + body)
        return await self._answer

    # -- asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self._events and self._heard is not None:
            events, self._events = self._events, []
            if self._heard(events):
                self._settle(b"")
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(CallFailed("the server closed the connection"))

    # -- httptools

    def on_body(self, body: bytes) -> None:
        self._body += body
        if self._heard is None:
            return
        if b"\r" in self._body:
            self._body = self._body.replace(b"\r\n", b"\n")
        *whole, self._body = self._body.split(b"\n\n")
        for event in whole:
            at = event.find(b"data:")
            if at >= 0:
                self._events.append(event[at + 5 :])

    def on_message_complete(self) -> None:
        if self._events and self._heard is not None:
            events, self._events = self._events, []
            self._heard(events)
        self._settle(self._body)

    def _settle(self, body: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(body)


def request(method: str, params: dict[str, Any]) -> bytes:
    """A JSON-RPC request."""
    return orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


def message(text: str, **configuration: Any) -> dict[str, Any]:
    """Parameters of SendMessage and SendStreamingMessage: a new message that says `text`."""
    params: dict[str, Any] = {
        "message": {"messageId": f"{_RUN}-{next(_ids)}", "role": "ROLE_USER", "parts": [{"text": text}]}
    }
    if configuration:
        params["configuration"] = configuration
    return params
