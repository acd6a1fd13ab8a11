"""Who may ask for what: the one door before the page and the endpoint."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import HTTPException

from pscli.serve.limits import MAX_BODY, is_loopback
from pscli.serve.messages import fault

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

COOKIE = "pscli-serve"
TOO_LARGE = f"More than {MAX_BODY >> 20} MiB are not taken."
IN_FLIGHT = 4 * MAX_BODY  # bytes of all requests that are being read
# What the page asks for, and programs. Gradio has many more doors (uploads, files of this machine,
# a proxy, histories on the hub): they stay shut, as nothing here needs them.
OPEN = re.compile(
    r"/|/config/?|/theme\.css|/manifest\.json|/favicon\.ico|/(assets|static)/[\w./-]+"
    r"|/gradio_api/(queue/(join|data)|heartbeat/\w+|startup-events|cancel|reset|info/?|theme\.css)"
    r"|/kept/[0-9a-f]{32}|/v1/models|/v1/chat/completions"
)
METHODS = {"/v1/models": "GET", "/v1/chat/completions": "POST"}  # of programs
# A browser does not ask anybody else, whatever the page might hold.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
ASK = """<!doctype html><html lang="en"><meta charset="utf-8"><title>pscli</title>
<meta name="viewport" content="width=device-width"><body style="font:18px system-ui;margin:4em auto;
max-width:24em"><h1>pscli</h1><p>Open the address that <code>pscli serve</code> printed, or give its
token here.</p><form><label>Token <input name="token" type="password" autofocus></label>
<button>Open</button></form></body></html>"""


class Guard:
    """Refuses what may not be asked, before anything else sees it.

    Without a token only this machine's own names are answered, so that no page of the internet
    that gives itself a local address (DNS rebinding) reaches the server, and never a page of
    another origin.

    Args:
        app: What is guarded.
        token: Has to be known for every request.
    """

    def __init__(self, app: Any, token: str | None = None) -> None:
        self.app, self.token = app, token
        self._reading = 0
        self._cookie = hashlib.sha256(f"{COOKIE} {token}".encode()).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":  # of others, the server says 403
            asked = Asked(scope)
            if self._enters(asked):
                await self._let_in(send)
            elif refused := self._refused(asked):
                await _refuse(send, asked, *refused)
            else:
                await self._pass(asked, receive, send)

    def _enters(self, asked: Asked) -> bool:
        """Whether the token is in the address: a cookie then takes its place."""
        given = asked.query.get("token")
        return bool(self.token and asked.path == "/" and given and self._knows(given[0]))

    async def _let_in(self, send: Send) -> None:
        cookie = f"{COOKIE}={self._cookie}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode())]
        await _answer(send, 303, "", "text/html", headers)

    def _knows(self, token: str) -> bool:
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def _refused(self, asked: Asked) -> tuple[int, str] | None:
        """Status and reason, if it is refused."""
        if self.token is None and not is_loopback(asked.host):
            return 403, "That is not a name of this machine."
        if asked.origin is not None and asked.origin != asked.netloc:
            return 403, "Pages of other origins are not answered."
        if not OPEN.fullmatch(asked.path) or ".." in asked.path:
            return 404, "There is nothing here."
        if METHODS.get(asked.path, asked.method) != asked.method:
            return 405, f"Only {METHODS[asked.path]} is known here."
        cookie = hmac.compare_digest(asked.cookie.encode(), self._cookie.encode())
        if self.token is not None and not cookie and not self._knows(asked.bearer):
            return 401, "The token is missing, or another one."
        if asked.length > MAX_BODY:
            return 413, TOO_LARGE
        return None

    async def _pass(self, asked: Asked, receive: Receive, send: Send) -> None:
        """Lets a request in, byte by byte no more than is taken."""
        read = 0

        async def receiving() -> MutableMapping[str, Any]:
            nonlocal read
            message = await receive()
            size = len(message.get("body", b""))
            read += size
            self._reading += size
            if read > MAX_BODY:
                raise HTTPException(413, TOO_LARGE)
            if self._reading > IN_FLIGHT:
                raise HTTPException(503, "Too much is sent at a time; try again later.")
            return message

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal read
            if message["type"] == "http.response.start":
                self._reading, read = self._reading - read, 0  # it is read by now
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        try:
            await self.app(asked.scope, receiving, sending)
        finally:
            self._reading -= read


class Asked:
    """What a request says about itself."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        self.netloc = self.headers.get("host", "").lower()
        self.query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        self.bearer = self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def host(self) -> str:
        try:
            return urlsplit(f"//{self.netloc}").hostname or ""
        except ValueError:
            return ""

    @property
    def origin(self) -> str | None:
        """Host and port of the page that asks; None if no page does."""
        value = self.headers.get("origin")
        return None if value is None else value.lower().partition("://")[2]

    @property
    def cookie(self) -> str:
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return next((value for name, _, value in pairs if name == COOKIE), "")

    @property
    def length(self) -> int:
        """Bytes that are announced; 0 if none are."""
        value = self.headers.get("content-length", "")
        return int(value) if value.isdecimal() else 0


async def _refuse(send: Send, asked: Asked, status: int, reason: str) -> None:
    if asked.path.startswith("/v1/"):
        code = "invalid_api_key" if status == 401 else None
        await _answer(send, status, json.dumps(fault(reason, code=code)), "application/json")
    elif status == 401:
        await _answer(send, status, ASK, "text/html")
    else:
        await _answer(send, status, reason, "text/plain")


async def _answer(
    send: Send, status: int, text: str, kind: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    head = [*HEADERS, (b"content-type", f"{kind}; charset=utf-8".encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": text.encode()})
