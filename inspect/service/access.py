"""Who may ask: host, origin and token are checked before anything of the service sees a request.

    Host      without a token, only a loopback name: a page whose name was bent to 127.0.0.1 gets nothing
    Origin    of what changes something, must be the service's own host: no other page posts with a visitor's cookie
    token     `Authorization: Bearer TOKEN`, or the cookie that /login gives for it

https://owasp.org/www-project-cheat-sheets/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet
"""

import hashlib
import hmac
import ipaddress
import time
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flawmap.inspect.service.problems import problem

COOKIE = "flawmap"
LOGGED_IN = 12 * 3600  # s that a cookie is good for: a shift
OPEN = ("/health", "/ready", "/login")  # without a token
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
# Of every answer: nothing is guessed, framed or told to other sites, and no shared computer keeps it.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, a name or an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


@dataclass(frozen=True)
class Keys:
    """The token and what follows from it; None: everybody on this machine may ask, and nobody else."""

    token: str | None

    def opens(self, token: str) -> bool:
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def cookie(self) -> str:
        """What a browser that showed the token gets instead: it says when it ends, and cannot be made without it."""
        ends = str(int(time.time()) + LOGGED_IN)
        return f"{ends}.{self._signature(ends)}"

    def accepts_cookie(self, cookie: str) -> bool:
        ends, _, signature = cookie.partition(".")
        signed = hmac.compare_digest(signature.encode(), self._signature(ends).encode())
        return signed and ends.isdecimal() and int(ends) > time.time()

    def _signature(self, ends: str) -> str:
        assert self.token is not None
        return hmac.new(self.token.encode(), f"flawmap cookie {ends}".encode(), hashlib.sha256).hexdigest()


class Access:
    """ASGI middleware; everything of the service lies behind it."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, method, path = Headers(scope=scope), scope["method"], scope["path"]
        host = headers.get("host", "")
        if self._keys.token is None and not is_loopback(_without_port(host)):
            return problem(
                403,
                f"the name `{host[:200]}` is not loopback: without a token the service is asked as localhost or "
                "127.0.0.1 only",
            )
        if method in CHANGING and not _same_origin(headers, host):
            origin = headers.get("origin") or "another site"
            return problem(403, f"a page of `{origin[:200]}` must not change anything at `{host[:200]}`")
        if self._keys.token is None or path in OPEN or self._known(headers):
            return None
        if method == "GET" and "text/html" in headers.get("accept", ""):
            query = scope["query_string"].decode("latin-1")
            return RedirectResponse(f"/login?next={quote(path + (f'?{query}' if query else ''))}", 303)
        return problem(
            401, "a token is needed: `Authorization: Bearer TOKEN`, or log in at /login", {"WWW-Authenticate": "Bearer"}
        )

    def _known(self, headers: Headers) -> bool:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._keys.opens(token.strip()):
            return True
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        return cookie is not None and self._keys.accepts_cookie(cookie)


def _same_origin(headers: Headers, host: str) -> bool:
    """Programs send neither header; browsers send `Origin` with whatever changes something."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _without_port(host: str) -> str:
    if host.startswith("["):  # IPv6
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
