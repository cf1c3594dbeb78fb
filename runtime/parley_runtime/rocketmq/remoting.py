"""RocketMQ's older protocol, with JSON headers: the one that brokers and name servers are administered by.

A frame is: its length, the length of the header (each 4 bytes, big-endian), the header as JSON, the body.
"""

import asyncio
import ssl
import struct
from collections.abc import Mapping
from typing import Any

import orjson

from parley_runtime.rocketmq.credentials import Credentials
from parley_runtime.rocketmq.errors import NotAllowed, RocketAway, RocketError, untrusted

_LARGEST = 16 * 1024 * 1024
_NO_PERMISSION = 16


async def call(
    endpoint: tuple[str, int],
    code: int,
    fields: Mapping[str, object] | None = None,
    body: bytes = b"",
    *,
    tls: ssl.SSLContext | None = None,
    credentials: Credentials | None = None,
    deadline: float = 5.0,
) -> bytes:
    """One request on a connection of its own; the response's body. Raises RocketAway when the server cannot be
    reached or does not answer in time, RocketError when it refuses."""
    named = {key: str(value) for key, value in (fields or {}).items()}
    header = orjson.dumps(
        {
            "code": code,
            "language": "PYTHON",
            "version": 501,
            "opaque": 1,
            "flag": 0,
            "serializeTypeCurrentRPC": "JSON",
            "extFields": named if credentials is None else credentials.signed(named, body),
        }
    )
    where = f"{endpoint[0]}:{endpoint[1]}"
    try:
        async with asyncio.timeout(deadline):
            reader, writer = await asyncio.open_connection(*endpoint, ssl=tls)
            try:
                writer.write(struct.pack(">ii", 4 + len(header) + len(body), len(header)) + header + body)
                await writer.drain()
                answer, data = await _frame(reader)
            finally:
                writer.close()
    except TimeoutError:
        raise RocketAway(f"RocketMQ at {where} does not answer in {deadline:g} s") from None
    except ssl.SSLCertVerificationError:
        raise untrusted(f"RocketMQ at {where}") from None
    except asyncio.IncompleteReadError:
        hint = "" if tls is not None else "; if it speaks TLS, write rocketmqs://"
        raise RocketAway(f"RocketMQ at {where} closed the connection{hint}") from None
    except OSError as error:
        raise RocketAway(f"RocketMQ at {where} cannot be reached: {error}") from None
    except ValueError as error:
        raise RocketError(f"what answers at {where} is not RocketMQ's remoting protocol: {error}") from None
    if answer.get("code") != 0:
        said = str(answer.get("remark") or "").partition("\n")[0][:200]
        if answer.get("code") == _NO_PERMISSION:
            raise NotAllowed(f"RocketMQ at {where}", said, _NO_PERMISSION)
        raise RocketError(
            f"RocketMQ at {where} says {answer.get('code')}: {said}", int(answer.get("code", -1))
        )
    return data


async def _frame(reader: asyncio.StreamReader) -> tuple[Any, bytes]:
    total, head = struct.unpack(">iI", await reader.readexactly(8))
    length = head & 0xFFFFFF
    if not 4 + length <= total <= _LARGEST or head >> 24:
        raise ValueError("not a frame with a JSON header")
    data = await reader.readexactly(total - 4)
    return orjson.loads(data[:length]), data[length:]
