"""Page tokens of ListTasks: a place in the order (status time, id), opaque to clients (section 3.1.4)."""

import base64
import binascii

import orjson

from parley_runtime import rules


def encode(cursor: tuple[float, str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(cursor)).decode().rstrip("=")


def decode(token: str) -> tuple[float, str]:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        at, task_id = orjson.loads(raw)
    except (binascii.Error, ValueError, TypeError) as error:
        raise rules.invalid("pageToken", "not a token that ListTasks gave") from error
    if (
        isinstance(at, bool)
        or not isinstance(at, int | float)
        or not isinstance(task_id, str)
        or not task_id.isprintable()
    ):
        raise rules.invalid("pageToken", "not a token that ListTasks gave")
    return float(at), task_id
