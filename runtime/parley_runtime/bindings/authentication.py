"""Who calls, over HTTP: settled before a body is read."""

from starlette.types import Scope, Send

from parley_core.errors import Unavailable
from parley_core.identity import Authenticator, Unauthenticated
from parley_runtime.bindings.failures import status_json
from parley_runtime.bindings.request import A2A_JSON, respond


class Authentication:
    """Puts the caller's Identity into scope["parley.identity"] and the headers as text into
    scope["parley.headers"]; or answers 401 with a challenge, or 503 when it cannot be told now."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, send: Send) -> bool:
        """Whether the call may go on; if not, it has been answered."""
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        try:
            scope["parley.identity"] = await self._authenticator.authenticate(dict(pairs))
        except Unauthenticated as error:
            challenge = {b"www-authenticate": error.challenge.encode("latin-1", "replace")}
            body = status_json(401, "UNAUTHENTICATED", str(error))
            await respond(send, 401, body, A2A_JSON, challenge)
            return False
        except Unavailable as error:
            body = status_json(503, "UNAVAILABLE", str(error))
            await respond(send, 503, body, A2A_JSON, {b"retry-after": b"1"})
            return False
        scope["parley.headers"] = pairs
        return True
