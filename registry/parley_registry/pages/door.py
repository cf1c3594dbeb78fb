"""The pages' own door, before the service's: headers that every page has, a way in for browsers, no foreign posts.

Where callers must prove who they are, a browser does so once: the bearer token that is pasted into the login form is kept in
a cookie (HttpOnly, SameSite=Strict, for the session), and sent on to the service's door as the Authorization header that
other clients send. The cookie counts for pages only, not for the API.
"""

from collections.abc import Mapping
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parley_core.errors import Unavailable
from parley_core.identity import Anonymous, Authenticator, Unauthenticated
from parley_registry.pages.rendering import STATIC, error_page, page, signed_in

COOKIE = "parley_token"
_MAX_TOKEN = 3800
"""Characters of a token that fits a cookie."""
_MAX_FORM = 16 * 1024
_PAGES = ("/agents/", "/mcp/", "/prompts/", "/static/")
_SINGLE = frozenset({"/", "/mcp", "/prompts", "/login", "/logout"})
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}


def is_page(path: str) -> bool:
    """Whether a path is a page's, not the API's."""
    return path in _SINGLE or path.startswith(_PAGES)


class PageDoor:
    """ASGI middleware around everything that answers for pages; other paths are passed on untouched."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator
        self._open = isinstance(authenticator, Anonymous)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_page(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = await self._answer(request)
        if answer is not None:
            await answer(scope, receive, with_headers)
            return
        token = request.cookies.get(COOKIE, "")
        if token and not self._open and "authorization" not in request.headers:
            scope["headers"] = [*scope["headers"], (b"authorization", f"Bearer {token}".encode())]
            signed_in.set(True)
        await self._app(scope, receive, _to_login(request, with_headers))

    async def _answer(self, request: Request) -> Response | None:
        """The answer to what needs no proof of who calls, or must not be done for other sites' pages; else None."""
        path = request.url.path
        if request.method not in ("GET", "HEAD") and not _own(request):
            return error_page(
                403,
                "Not from here",
                "This form was sent by a page of another site; use the registry's own pages.",
            )
        if path.startswith("/static/"):
            return _static(request)
        if path == "/login":
            return await self._login(request)
        if path == "/logout" and request.method == "POST":
            answer = RedirectResponse("/login", 303)
            answer.delete_cookie(COOKIE)
            return answer
        return None

    async def _login(self, request: Request) -> Response:
        if self._open:
            return RedirectResponse("/", 303)
        following = _local(request.query_params.get("next", "/"))
        if request.method != "POST":
            return page("login.html", following=following, fault="")
        token = (await form_of(request, _MAX_FORM)).get("token", "").strip().removeprefix("Bearer ").strip()
        fault = ""
        if len(token) > _MAX_TOKEN:
            fault = f"The token is longer than the {_MAX_TOKEN} characters that a browser keeps; ask for a shorter one."
        else:
            try:
                await self._authenticator.authenticate({"authorization": f"Bearer {token}"})
            except Unauthenticated as error:
                fault = f"That did not work: {error}."
            except Unavailable as error:
                fault = f"That cannot be told now: {error}. Try again in a moment."
        if fault:
            return page("login.html", status=401, following=following, fault=fault)
        answer = RedirectResponse(following, 303)
        answer.set_cookie(
            COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
        return answer


async def form_of(request: Request, most: int) -> Mapping[str, str]:
    """The fields of a form that was sent; a field that was given twice counts as first given. No fields when the body
    is longer than `most` bytes, or has more fields than a form of ours."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=32)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _own(request: Request) -> bool:
    """Whether a request comes from our own pages (or from no page at all), by what browsers say of it."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _local(path: str) -> str:
    """A path to go on to after login: one of our pages, whatever was asked for."""
    parts = urlsplit(path)
    safe = not parts.scheme and not parts.netloc and is_page(parts.path) and "\\" not in path
    return path if safe and not path.startswith(("//", "/log")) else "/"


def _to_login(request: Request, send: Send) -> Send:
    """Sends on what the service answers, but for its 401 the way to the login."""
    turned = False

    async def turning(message: Message) -> None:
        nonlocal turned
        if message["type"] == "http.response.start" and message["status"] == 401:
            turned = True
            shown = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            target = f"/login?next={quote(shown if request.method == 'GET' else '/', safe='')}"
            if "hx-request" in request.headers:
                answer = Response(status_code=204, headers={"hx-redirect": "/login"})
            else:
                answer = RedirectResponse(target, 303)
            await answer(request.scope, request.receive, send)
        elif not turned:
            await send(message)

    return turning


def _static(request: Request) -> Response:
    name = request.url.path.removeprefix("/static/")
    if name not in STATIC:
        return error_page(404, "Not found", "There is no such file.")
    forever = (
        {"cache-control": "public, max-age=31536000, immutable"} if request.query_params.get("v") else {}
    )
    return Response(STATIC[name], media_type=_TYPES[name.rpartition(".")[2]], headers=forever)
