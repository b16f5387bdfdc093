"""``/openapi.json`` and ``/docs``: the simple face described from the services' own fragments.

The page is rendered on the server, with no script and no outside file, so that it also works on a machine without internet.
The Supabase face is described by its upstream's documentation and is not repeated here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from isobase_platform import __version__
from isobase_platform.config import Settings
from isobase_platform.service import Service

__all__ = ["openapi_document", "openapi_pages"]

METHODS = ("get", "post", "put", "patch", "delete")

_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "Stable and machine readable."},
                "message": {"type": "string"},
                "details": {"type": ["string", "null"]},
                "hint": {"type": ["string", "null"]},
                "request_id": {"type": ["string", "null"], "description": "Also in the x-request-id header."},
            },
        }
    },
}


def openapi_document(services: Sequence[Service], settings: Settings) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the simple face as a JSON-ready mapping.

    Raises ``ValueError`` when two services describe the same path or schema: their faces would hide one another.
    """
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Error": _ERROR_SCHEMA}
    for service in services:
        for target, part in ((paths, "paths"), (schemas, "schemas")):
            fragment: Mapping[str, Any] = service.openapi.get(part, {})
            if twice := target.keys() & fragment.keys():
                raise ValueError(f"{service.name} describes {sorted(twice)} a second time")
            target.update(fragment)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Isobase",
            "version": __version__,
            "description": "The simple face: plain JSON over HTTP. Official Supabase clients use /auth/v1, /rest/v1, "
            "/storage/v1 and /realtime/v1 on the same port.",
        },
        "servers": [{"url": settings.base_url}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "apikey": {"type": "apiKey", "in": "header", "name": "apikey"},
            },
        },
    }


def openapi_pages(services: Sequence[Service], settings: Settings) -> dict[str, ASGIApp]:
    """The two pages by path; both are made once."""
    document = openapi_document(services, settings)
    as_json = Response(json.dumps(document, indent=1), media_type="application/json")
    as_html = HTMLResponse(_render(document))

    async def serve_json(scope: Scope, receive: Receive, send: Send) -> None:
        await as_json(scope, receive, send)

    async def serve_html(scope: Scope, receive: Receive, send: Send) -> None:
        await as_html(scope, receive, send)

    return {"/openapi.json": serve_json, "/docs": serve_html}


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #2a7f62 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border: 1px solid var(--line); border-radius: .5rem; margin: 1rem 0; padding: .25rem 1rem }
h2 { font-size: 1rem; margin: .5rem 0 } h2 code { font-size: 1rem }
.method { color: var(--accent); font-weight: 700; text-transform: uppercase; margin-right: .5rem }
pre { background: var(--soft); padding: .75rem; border-radius: .25rem; overflow-x: auto; font-size: .85rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .25rem .5rem; border-top: 1px solid var(--line) }
nav a { display: inline-block; margin-right: 1rem }
"""


def _render(document: Mapping[str, Any]) -> str:
    operations = [
        (path, method, item[method]) for path, item in document["paths"].items() for method in METHODS if method in item
    ]
    links = "".join(
        f'<a href="#{_anchor(method, path)}"><code>{method.upper()} {escape(path)}</code></a>'
        for path, method, _ in operations
    )
    sections = "".join(_operation(document, path, method, operation) for path, method, operation in operations)
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1><p>{escape(info['description'])}</p>"
        f'<p>Machine readable: <a href="/openapi.json">openapi.json</a></p><nav>{links}</nav>{sections}</html>'
    )


def _anchor(method: str, path: str) -> str:
    return escape(f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""))


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f'<section id="{_anchor(method, path)}"><h2><span class="method">{method}</span><code>{escape(path)}</code></h2>',
        f"<p>{escape(operation.get('summary', ''))}</p>",
    ]
    if description := operation.get("description"):
        parts.append(f"<p>{escape(description)}</p>")
    if parameters := operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}</td>"
            f"<td>{escape(parameter.get('description', ''))}</td></tr>"
            for parameter in parameters
        )
        parts.append(f"<table><tr><th>parameter</th><th>in</th><th></th></tr>{rows}</table>")
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h3>Request, {escape(media_type)}</h3>{_content(document, content)}")
    for status, answer in operation.get("responses", {}).items():
        parts.append(f"<h3>{escape(str(status))} {escape(answer.get('description', ''))}</h3>")
        parts.extend(_content(document, content) for content in answer.get("content", {}).values())
    return "".join(parts) + "</section>"


def _content(document: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """The example where there is one, else the schema."""
    schema = _resolved(document, content.get("schema", {}))
    shown = content.get("example", schema.get("example", (schema.get("examples") or [schema])[0]))
    return f"<pre>{escape(json.dumps(shown, indent=2, ensure_ascii=False))}</pre>"


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][str(reference).rpartition("/")[2]]
    return found
