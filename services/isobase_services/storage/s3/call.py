"""One S3 request on its way through an operation, and the answers that operations give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope

from isobase_platform.errors import BodyTooLarge
from isobase_services.storage.core.database import Actor
from isobase_services.storage.errors import refuse
from isobase_services.storage.s3.access import Identity
from isobase_services.storage.s3.errors import s3_refuse
from isobase_services.storage.s3.payload import Payload
from isobase_services.storage.s3.xml import XML_TYPE, Markup, Node, XmlError, parse, render

__all__ = ["Operation", "S3Call", "empty_response", "xml_response"]

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
"""The largest is a CompleteMultipartUpload of 10,000 parts with checksums."""
_MAX_INTEGER_DIGITS = 9


@dataclass(slots=True, frozen=True)
class S3Call:
    """A verified request. ``bucket`` and ``key`` are decoded, "" where the path names none; of a repeated query member the
    first counts."""

    scope: Scope
    receive: Receive
    headers: Mapping[str, str]
    query: Mapping[str, str]
    bucket: str
    key: str
    identity: Identity

    @property
    def actor(self) -> Actor:
        """Who asks."""
        return self.identity.actor

    def payload(self) -> Payload:
        """The body as a stream; raises for headers that do not describe one."""
        return Payload(self.headers, self.receive, self.identity)

    async def document(self, root: str) -> Node | None:
        """The body's XML, verified; None for an empty body.

        Raises InvalidRequest for nothing that calls itself JSON; MalformedXML, also for another root element; and what
        reading a payload raises.
        """
        payload = self.payload()
        if payload.size_bytes is not None and payload.size_bytes > MAX_DOCUMENT_BYTES:
            raise BodyTooLarge("The document is too large")
        received = bytearray()
        async for chunk in payload.chunks():
            received += chunk
            if len(received) > MAX_DOCUMENT_BYTES:
                raise BodyTooLarge("The document is too large")
        if not received.strip():
            if self.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
                raise refuse.invalid_request("Body cannot be empty when content-type is set to 'application/json'")
            return None
        try:
            node = parse(bytes(received))
        except XmlError as error:
            raise s3_refuse.malformed_xml() from error
        if node.name != root:
            raise s3_refuse.malformed_xml()
        return node

    def integer(self, name: str, default: int, *, at_least: int = 0, at_most: int | None = None) -> int:
        """A whole number of the query. Raises InvalidArgument for what is none or lies outside."""
        text = self.query.get(name)
        if text is None or text == "":
            return default
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_INTEGER_DIGITS else -1
        if value < at_least or (at_most is not None and value > at_most):
            bounds = f"at least {at_least}" if at_most is None else f"between {at_least} and {at_most}"
            raise s3_refuse.invalid_argument(f"Argument {name} must be a whole number, {bounds}")
        return value


Operation: TypeAlias = Callable[[S3Call], Awaitable[ASGIApp]]
"""Takes a request and returns its answer."""


def xml_response(root: Markup, headers: Mapping[str, str] | None = None) -> Response:
    """A document of S3's namespace."""
    return Response(render(root), headers={**(headers or {}), "content-type": XML_TYPE})


def empty_response(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An answer without a body."""
    return Response(status_code=status, headers=dict(headers or {}))
