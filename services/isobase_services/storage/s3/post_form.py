"""The POST form by which a browser uploads with a signed policy. Source: contracts/storage.md 1.5; AWS, "POST Object"."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from starlette.responses import Response
from starlette.types import Receive, Scope

from isobase_services.storage.body import body_chunks
from isobase_services.storage.core.object_metadata import DEFAULT_CACHE_CONTROL, DEFAULT_MIME_TYPE
from isobase_services.storage.core.upload import StoredObject, UploadFacts, Uploads, UploadTarget
from isobase_services.storage.errors import StorageError, refuse
from isobase_services.storage.http_values import is_header_text
from isobase_services.storage.multipart import MultipartForm
from isobase_services.storage.s3.access import S3Access
from isobase_services.storage.s3.call import empty_response, xml_response
from isobase_services.storage.s3.errors import s3_refuse
from isobase_services.storage.s3.object_write import user_metadata_of
from isobase_services.storage.s3.policy import SizeRange, check_policy
from isobase_services.storage.s3.xml import element

__all__ = ["PostForm"]

OPERATION = "storage.s3.upload"
MAX_FIELDS = 20
MAX_FIELDS_BYTES = 64 * 1024
"""All fields before the file, which say who sends them; S3 takes 20 KB."""
_FILE = "file"
_FILENAME = "${filename}"
_REQUIRED = ("key", "policy", "x-amz-credential", "x-amz-date", "x-amz-signature")


@dataclass(slots=True, frozen=True)
class _FormBody:
    """The form's file, held against what the policy says of its size. Fields behind it are not looked at, as in S3."""

    form: MultipartForm
    facts: UploadFacts
    size: SizeRange

    async def chunks(self) -> AsyncIterator[bytes]:
        size_bytes = 0
        most = self.size.at_most_bytes
        async for chunk in self.form.file_chunks():
            size_bytes += len(chunk)
            if most is not None and size_bytes > most:
                raise StorageError("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size")
            yield chunk
        if size_bytes < self.size.at_least_bytes:
            raise refuse.part_too_small()


class PostForm:
    """Serves ``POST /bucket`` with a form."""

    def __init__(self, access: S3Access, uploads: Uploads) -> None:
        self._access = access
        self._uploads = uploads

    async def upload(self, scope: Scope, receive: Receive, headers: Mapping[str, str], bucket: str) -> Response:
        """Store the form's file.

        Raises AccessDenied without a signature or for a field that the policy does not allow, InvalidSignature,
        SignatureDoesNotMatch, ExpiredToken, and what an upload raises.
        """
        form = MultipartForm(
            headers["content-type"],
            body_chunks(receive),
            max_fields=MAX_FIELDS,
            max_fields_bytes=MAX_FIELDS_BYTES,
            file_field=_FILE,
        )
        part = await form.head()
        if form.oversized_fields:
            text = "Your POST request fields preceding the upload file were too large."
            raise StorageError("MaxPostPreDataLengthExceeded", 400, text)
        fields = _fields(form)
        actor = await self._access.authenticate_policy(
            scope,
            fields["x-amz-credential"],
            fields["x-amz-signature"],
            fields["policy"],
            fields.get("x-amz-security-token"),
            OPERATION,
        )
        size = check_policy(fields["policy"], fields, bucket)
        facts = UploadFacts(
            mime_type=fields.get("content-type") or DEFAULT_MIME_TYPE,
            cache_control=fields.get("cache-control") or DEFAULT_CACHE_CONTROL,
            user_metadata=user_metadata_of(fields),
            declared_length=None,
            known_size=None,
            robots_tag=None,
        )
        key = fields["key"].replace(_FILENAME, part.filename.rpartition("/")[2].rpartition("\\")[2])
        target = UploadTarget(bucket, key, actor.owner_id, is_upsert=True)
        stored = await self._uploads.upload(actor, target, _FormBody(form, facts, size))
        return _answer(fields, stored)


def _fields(form: MultipartForm) -> dict[str, str]:
    """The fields before the file by lower-case name. Raises InvalidSignature for one that is missing or there twice."""
    fields: dict[str, str] = {}
    for name, value in form.fields.items():
        if name.lower() in fields:
            raise s3_refuse.invalid_signature("Duplicate form field in POST policy request")
        fields[name.lower()] = value
    if "x-amz-credential" not in fields and "policy" not in fields:
        raise refuse.access_denied("Missing signature")
    if any(name not in fields for name in _REQUIRED) or form.repeated_fields:
        raise s3_refuse.invalid_signature()
    return fields


def _answer(fields: Mapping[str, str], stored: StoredObject) -> Response:
    """What ``success_action_...`` asks for; without it 200, as upstream (S3 itself answers 204)."""
    place = f"/{quote(stored.bucket)}/{quote(stored.key)}"
    headers = {"etag": stored.etag, "location": place}
    redirect = fields.get("success_action_redirect", "")
    if redirect and is_header_text(redirect) and urlsplit(redirect).scheme in {"http", "https"}:
        query = urlencode({"bucket": stored.bucket, "key": stored.key, "etag": stored.etag})
        separator = "&" if urlsplit(redirect).query else "?"
        return empty_response(303, {**headers, "location": f"{redirect}{separator}{query}"})
    status = fields.get("success_action_status")
    if status != "201":
        return empty_response(204 if status == "204" else 200, headers)
    response = xml_response(
        element(
            "PostResponse",
            element("Location", place),
            element("Bucket", stored.bucket),
            element("Key", stored.key),
            element("ETag", stored.etag),
        ),
        headers,
    )
    response.status_code = 201
    return response
