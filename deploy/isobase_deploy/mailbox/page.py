"""The page to read mail on, and the mail's HTML in a frame that runs nothing and loads nothing.

Paths as Mailpit's: ``/``, ``/view/{id}``, ``/view/latest``, ``/view/{id}.html``, ``/view/{id}.txt``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from isobase_deploy.mailbox.search import matcher_of
from isobase_deploy.mailbox.store import MailStore

__all__ = ["page_routes"]

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'none'; frame-ancestors 'self'"
)
"""Of a mail that is shown: whatever its HTML says, nothing runs, nothing is loaded from anywhere, no form is sent."""
_NEW_WINDOW = '<base target="_blank">\n'
"""Links of a mail open beside the mailbox; the frame itself could not show their pages."""


@cache
def _file(name: str) -> str:
    return (files("isobase_deploy.mailbox") / "page" / name).read_text(encoding="utf-8")


def page_routes(store: MailStore) -> list[Route]:
    """The routes of the page over ``store``."""

    async def index(request: Request) -> Response:
        return HTMLResponse(_file("index.html"), headers={"content-security-policy": PAGE_POLICY})

    async def style(request: Request) -> Response:
        return Response(_file("page.css"), media_type="text/css")

    async def script(request: Request) -> Response:
        return Response(_file("page.js"), media_type="text/javascript")

    async def latest(request: Request) -> Response:
        query = request.query_params.get("query", "").strip()
        newest = next(iter(store.newest_first(matcher_of(query) if query else None)), None)
        return RedirectResponse(f"/view/{newest.id}" if newest is not None else "/", 302)

    async def html(request: Request) -> Response:
        message = store.get(request.path_params["id"])
        if message is None or not message.html:
            return PlainTextResponse("404 page not found", 404)
        return HTMLResponse(_NEW_WINDOW + message.html, headers={"content-security-policy": MAIL_POLICY})

    async def text(request: Request) -> Response:
        message = store.get(request.path_params["id"])
        return PlainTextResponse("404 page not found", 404) if message is None else PlainTextResponse(message.text)

    return [
        Route("/", index),
        Route("/page.css", style),
        Route("/page.js", script),
        Route("/view/latest", latest),
        Route("/view/{id}.html", html),
        Route("/view/{id}.txt", text),
        Route("/view/{id}", index),
    ]
