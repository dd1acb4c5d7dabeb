"""GET /api: the routes on one plain page, drawn from the OpenAPI document. It loads nothing from anywhere."""

import re
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import HTMLResponse

POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>REST API – flawmap</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
code,th{font-family:ui-monospace,monospace;text-align:left;font-weight:400}h2{margin:2rem 0 .3rem;font-size:1.1rem}
h2 code{background:#e8eef5;padding:.1rem .4rem}table{border-collapse:collapse}td,th{padding:.1rem 1rem .1rem 0;
vertical-align:top}</style>
"""


def api_page(app: FastAPI) -> APIRouter:
    """A page on what `app` answers."""
    router = APIRouter(include_in_schema=False)

    @router.get("/api")
    def page() -> HTMLResponse:
        return HTMLResponse(_page(app.openapi()), headers=POLICY)

    return router


def _page(document: dict[str, Any]) -> str:
    routes = [
        _route(method, path, route) for path, methods in document["paths"].items() for method, route in methods.items()
    ]
    version = escape(document["info"]["version"])
    return (
        f"{HEAD}<h1>flawmap {version}: REST API</h1>\n<p>{_prose(document['info']['description'])} The whole of it, "
        f'with every field, for programs: <a href="/openapi.json">openapi.json</a> (OpenAPI {document["openapi"]}).'
        f' For people there is the <a href="/review">review page</a>.</p>\n{"".join(routes)}</html>\n'
    )


def _route(method: str, path: str, route: dict[str, Any]) -> str:
    rows = [
        (one["name"], one["in"], _kind(one["schema"]), one.get("description", ""))
        for one in route.get("parameters", [])
    ]
    for kind, body in route.get("requestBody", {}).get("content", {}).items():
        rows.append(("body", kind, _kind(body["schema"]), ""))
    for status, answer in route["responses"].items():
        kinds = [f"{kind} {_kind(body.get('schema', {}))}" for kind, body in answer.get("content", {}).items()]
        rows.append((status, "answer", ", ".join(kinds), answer["description"]))
    cells = "".join(
        f"<tr><th scope=row>{escape(name)}</th>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>\n"
        for name, *texts in rows
    )
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>\n<p>{escape(route.get('summary', ''))}</p>\n"
        f"<table>\n{cells}</table>\n"
    )


def _prose(text: str) -> str:
    """Text whose code stands between backticks, as OpenAPI has it."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def _kind(schema: dict[str, Any]) -> str:
    """In a word or two."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if "properties" in schema:
        return "{" + ", ".join(schema["properties"]) + "}"
    return str(schema.get("type", ""))
