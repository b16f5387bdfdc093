"""Mailpit's HTTP API v1 over a ``MailStore``: list, read, search, delete, send.

Source: Mailpit's API documentation (``/api/v1``), as far as tests and tools of Supabase projects call it. What is wrong with
a request is told in plain text with 400, what is not there with 404.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from isobase_deploy.mailbox.message import Json, StoredMessage, parse_message
from isobase_deploy.mailbox.search import matcher_of
from isobase_deploy.mailbox.store import MailStore

__all__ = ["MailApi"]

DEFAULT_LIMIT = 50
MAX_QUERY_CHARS = 1000
MAX_JSON_BYTES = 64 * 1024
VERSION = "v1.27.0"
"""The Mailpit whose API this is."""


class MailApi:
    """The routes below ``/api/v1``. ``max_message_bytes``: the largest body of a mail that is sent."""

    def __init__(self, store: MailStore, *, max_message_bytes: int) -> None:
        self._store = store
        self._max_message_bytes = max_message_bytes
        self._started_s = time.monotonic()

    @property
    def routes(self) -> list[Route]:
        """The routes, with their whole paths."""
        return [
            Route("/api/v1/info", self._info, methods=["GET"]),
            Route("/api/v1/messages", self._list, methods=["GET"]),
            Route("/api/v1/messages", self._set_read, methods=["PUT"]),
            Route("/api/v1/messages", self._delete, methods=["DELETE"]),
            Route("/api/v1/search", self._search, methods=["GET"]),
            Route("/api/v1/search", self._delete_search, methods=["DELETE"]),
            Route("/api/v1/tags", self._tags, methods=["GET"]),
            Route("/api/v1/send", self._send, methods=["POST"]),
            Route("/api/v1/message/{id}", self._message, methods=["GET"]),
            Route("/api/v1/message/{id}/headers", self._headers, methods=["GET"]),
            Route("/api/v1/message/{id}/raw", self._raw, methods=["GET"]),
            Route("/api/v1/message/{id}/part/{part}", self._part, methods=["GET"]),
        ]

    async def _info(self, request: Request) -> Response:
        store = self._store
        return JSONResponse(
            {
                "Version": VERSION,
                "LatestVersion": VERSION,
                "Database": "memory",
                "DatabaseSize": store.size_bytes,
                "Messages": store.count,
                "Unread": store.unread_count,
                "Tags": store.tags,
                "RuntimeStats": {
                    "Uptime": int(time.monotonic() - self._started_s),
                    "Memory": store.size_bytes,
                    "MessagesDeleted": store.deleted_count,
                    "SMTPAccepted": store.accepted_count,
                    "SMTPAcceptedSize": store.accepted_bytes,
                    "SMTPRejected": 0,
                    "SMTPIgnored": 0,
                },
            }
        )

    async def _list(self, request: Request) -> Response:
        found = self._store.newest_first()
        return JSONResponse(self._page(request, found))

    async def _search(self, request: Request) -> Response:
        query = request.query_params.get("query", "").strip()
        if not query or len(query) > MAX_QUERY_CHARS:
            return _bad("Error: no search query" if not query else "Error: search query too long")
        return JSONResponse(self._page(request, self._store.newest_first(matcher_of(query))))

    def _page(self, request: Request, found: Sequence[StoredMessage]) -> Json:
        start = _number(request, "start", 0, least=1)
        limit = _number(request, "limit", DEFAULT_LIMIT, least=0)
        shown = found[start : start + limit] if limit else found  # as upstream: no limit, and then no start either
        return {
            "total": self._store.count,
            "unread": self._store.unread_count,
            "count": len(shown),
            "messages_count": len(found),
            "messages_unread": sum(not message.is_read for message in found),
            "start": start,
            "tags": list(self._store.tags),
            "messages": [message.summary for message in shown],
        }

    async def _set_read(self, request: Request) -> Response:
        body = await self._json(request)
        if body is None:
            return _bad("invalid JSON")
        ids, query = _texts(body.get("IDs")), body.get("Search")
        if ids and query:
            return _bad("You may specify either IDs or a search query, not both")
        matches = matcher_of(query) if isinstance(query, str) and query else None
        for message in self._store.newest_first(matches):
            if not ids or message.id in ids:
                message.is_read = body.get("Read") is True
        return PlainTextResponse("ok")

    async def _delete(self, request: Request) -> Response:
        body = await self._json(request)
        ids = _texts(body.get("IDs")) if body else []
        # As upstream: without ids everything goes.
        if ids:
            self._store.delete(ids)
        else:
            self._store.clear()
        return PlainTextResponse("ok")

    async def _delete_search(self, request: Request) -> Response:
        query = request.query_params.get("query", "").strip()
        if not query or len(query) > MAX_QUERY_CHARS:
            return _bad("Error: no search query" if not query else "Error: search query too long")
        self._store.delete([message.id for message in self._store.newest_first(matcher_of(query))])
        return PlainTextResponse("ok")

    async def _tags(self, request: Request) -> Response:
        return JSONResponse(list(self._store.tags))

    async def _send(self, request: Request) -> Response:
        # A page of another origin may send a form or plain text without asking; JSON it may not.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return JSONResponse({"Error": "the content type must be application/json"}, 400)
        body = await self._body(request, self._max_message_bytes)
        if body is None:
            return JSONResponse({"Error": "http: request body too large"}, 413)
        from isobase_deploy.mailbox.compose import BadMailError, compose  # with the first mail, not at start

        try:
            mail = compose(body)
        except BadMailError as error:
            return JSONResponse({"Error": str(error)}, 400)
        message = await run_in_threadpool(parse_message, mail.raw, sender=mail.sender, recipients=mail.recipients)
        self._store.add(message)
        return JSONResponse({"ID": message.id})

    async def _message(self, request: Request) -> Response:
        message = self._named(request)
        if message is None:
            return _not_found(request)
        message.is_read = True
        return JSONResponse(message.json)

    async def _headers(self, request: Request) -> Response:
        message = self._named(request)
        return _not_found(request) if message is None else JSONResponse(message.headers)

    async def _raw(self, request: Request) -> Response:
        message = self._named(request)
        if message is None:
            return _not_found(request)
        headers = {}
        if request.query_params.get("dl") == "1":
            headers["content-disposition"] = f'attachment; filename="{message.id}.eml"'
        return Response(message.raw, media_type="text/plain; charset=utf-8", headers=headers)

    async def _part(self, request: Request) -> Response:
        message = self._named(request)
        wanted = request.path_params["part"]
        part = next((one for one in message.parts if one.id == wanted), None) if message is not None else None
        if part is None:
            return _not_found(request)
        # Never shown in the page's own origin, whatever it says it is.
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(part.name or part.content_id)}"}
        return Response(part.content, media_type=part.content_type, headers=headers)

    def _named(self, request: Request) -> StoredMessage | None:
        message_id = request.path_params["id"]
        if message_id != "latest":
            return self._store.get(message_id)
        query = request.query_params.get("query", "").strip()[:MAX_QUERY_CHARS]
        return next(iter(self._store.newest_first(matcher_of(query) if query else None)), None)

    @staticmethod
    async def _body(request: Request, limit_bytes: int) -> bytes | None:
        """The body, or None for one that is too large."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit_bytes:
                return None
        return bytes(body)

    async def _json(self, request: Request) -> Json | None:
        """The body's object, or None for anything else."""
        body = await self._body(request, MAX_JSON_BYTES)
        try:
            found = json.loads(body or b"")
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None


def _number(request: Request, name: str, default: int, *, least: int) -> int:
    text = request.query_params.get(name, "")
    # Longer ones are no offsets into a mailbox, and slow to read.
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    return number if number >= least else default


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _bad(text: str) -> Response:
    return PlainTextResponse(text, 400)


def _not_found(request: Request) -> Response:
    is_latest = request.path_params.get("id") == "latest"
    return PlainTextResponse("Message not found" if is_latest else "404 page not found", 404)
