"""The two ways in which the Supabase face receives a file: a form, or the bare bytes. Both are streams."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from typing import Any

from isobase_services.storage.body import body_chunks, content_length
from isobase_services.storage.core.object_metadata import DEFAULT_CACHE_CONTROL, DEFAULT_MIME_TYPE
from isobase_services.storage.core.upload import UploadBody, UploadFacts
from isobase_services.storage.core.user_metadata import parse_user_metadata
from isobase_services.storage.errors import refuse
from isobase_services.storage.multipart import FilePart, MultipartForm
from isobase_services.storage.rest.call import Call
from isobase_services.storage.robots import check_robots_tag

__all__ = ["header_metadata", "open_upload_body"]


async def open_upload_body(call: Call) -> UploadBody:
    """The request's file, read as far as its description.

    Raises InvalidRequest for a form without a file, and for an X-Robots-Tag that means nothing.
    """
    robots_tag = call.header("x-robots-tag")
    if robots_tag:
        check_robots_tag(robots_tag)
    content_type = call.header("content-type")
    if content_type is not None and content_type.startswith("multipart/form-data"):
        form = MultipartForm(content_type, body_chunks(call.receive))
        return _FormBody(form, await form.head(), content_length(call.scope), robots_tag)
    return _RawBody(call, content_type, robots_tag)


def header_metadata(call: Call) -> Mapping[str, Any] | None:
    """The user metadata of the ``x-metadata`` header, base64 of a JSON object; None for anything else."""
    value = call.header("x-metadata")
    if value is None:
        return None
    try:
        # Upstream's decoder takes both alphabets, with or without padding, and skips what is neither.
        text = value.replace("-", "+").replace("_", "/").rstrip("=")
        return parse_user_metadata(base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace"))
    except (binascii.Error, ValueError):
        return None


class _RawBody:
    """The request's body is the file."""

    def __init__(self, call: Call, content_type: str | None, robots_tag: str | None) -> None:
        self._receive = call.receive
        length = content_length(call.scope)
        self.facts = UploadFacts(
            mime_type=content_type or DEFAULT_MIME_TYPE,
            cache_control=call.header("cache-control") or DEFAULT_CACHE_CONTROL,
            user_metadata=header_metadata(call),
            declared_length=length,
            known_size=length,
            robots_tag=robots_tag,
        )

    def chunks(self) -> AsyncIterator[bytes]:
        return body_chunks(self._receive)


class _FormBody:
    """The file is a part of a form whose fields describe it, before or after."""

    def __init__(self, form: MultipartForm, part: FilePart, content_length: int | None, robots_tag: str | None) -> None:
        self._form = form
        self._part = part
        self._content_length = content_length
        self._robots_tag = robots_tag

    @property
    def facts(self) -> UploadFacts:
        fields = self._form.fields
        if self._form.oversized_fields & {"metadata", "userMetadata"}:
            raise refuse.too_large("user_metadata")
        cache_time = fields.get("cacheControl")
        metadata = fields.get("metadata", fields.get("userMetadata"))
        return UploadFacts(
            mime_type=fields.get("contentType") or self._part.content_type,
            cache_control=f"max-age={cache_time}" if cache_time else DEFAULT_CACHE_CONTROL,
            user_metadata=None if metadata is None else parse_user_metadata(metadata),
            declared_length=self._content_length,
            known_size=None,
            robots_tag=self._robots_tag,
        )

    def chunks(self) -> AsyncIterator[bytes]:
        return self._form.file_chunks()
