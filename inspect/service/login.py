"""/login: a form for the token, once a shift. What comes back is a cookie that scripts cannot read."""

from html import escape
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from flawmap.inspect.service.access import COOKIE, LOGGED_IN, Keys

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Log in – flawmap</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;padding:0 1rem;color:#1b1f24}}
label,input,button{{display:block;width:100%;font:inherit;box-sizing:border-box}}
input,button{{padding:.5rem;margin:.5rem 0}}
p{{color:#565e69;font-size:14px}}[role=alert]{{color:#a40e26;font-size:inherit}}</style>
<h1>flawmap</h1>
<form method="post" action="/login?next={next}">
<label for="token">Token of this service</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
<p>Who started the service has it: in its <code>--token-file</code>, or in <code>FLAWMAP_TOKEN</code>.</p>
</form>
<p role="alert">{said}</p>
</html>
"""
POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"}


def login_routes(keys: Keys) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    def form(next: Annotated[str, Query()] = "/") -> Response:
        return RedirectResponse(_local(next), 303) if keys.token is None else _page(next, "", 200)

    @router.post("/login")
    async def login(request: Request, next: Annotated[str, Query()] = "/") -> Response:
        async with request.form(max_files=0, max_fields=5, max_part_size=4096) as fields:
            token = fields.get("token")
        if not isinstance(token, str) or not keys.opens(token.strip()):
            return _page(next, "That is not the token.", 401)
        answer = RedirectResponse(_local(next), 303)
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        answer.set_cookie(
            COOKIE, keys.cookie(), max_age=LOGGED_IN, httponly=True, samesite="strict", secure=secure, path="/"
        )
        return answer

    return router


def _page(next: str, said: str, status: int) -> HTMLResponse:
    return HTMLResponse(PAGE.format(next=escape(quote(_local(next), safe="")), said=escape(said)), status, POLICY)


def _local(next: str) -> str:
    """An address of this service: where else a link to the login asked to go, it goes to the front page."""
    plain = all(character.isprintable() for character in next)
    return next if next.startswith("/") and not next.startswith(("//", "/\\")) and plain else "/"
