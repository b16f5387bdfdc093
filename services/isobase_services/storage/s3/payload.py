"""The body of an S3 request as a stream of the object's own bytes, with everything checked that the client said of them.

A wrong hash, checksum, signature or length is found at the end of the stream at the latest and raised there: whoever stores
the stream stores nothing then. Source: contracts/storage.md 1.5; AWS, "Checking object integrity". (Upstream checks chunk
signatures only.)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator, Mapping

from starlette.types import Receive

from isobase_services.storage.body import body_chunks
from isobase_services.storage.errors import refuse
from isobase_services.storage.s3.access import Identity
from isobase_services.storage.s3.checksums import CHECKSUM_HEADERS, Checksum, decode_checksum, new_checksum
from isobase_services.storage.s3.chunked import ChunkedDecoder
from isobase_services.storage.s3.errors import s3_refuse

__all__ = ["Payload"]

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD"
_TRAILER = "-TRAILER"
_MD5_BYTES = 16


class Payload:
    """One request's body. Iterate ``chunks`` once, to its end.

    ``size_bytes`` is the object's length where the request says it; ``checksums`` holds, once the stream is over, the
    checksums that were verified, by header name as base64. Raises InvalidDigest and InvalidArgument for headers that
    cannot be read.
    """

    def __init__(self, headers: Mapping[str, str], receive: Receive, identity: Identity) -> None:
        self._receive = receive
        self.checksums: dict[str, str] = {}
        signed = identity.signature.payload or ""
        self._sha256 = signed.lower() if _SHA256.fullmatch(signed) else None
        self._md5 = _md5_of(headers.get("content-md5"))
        self._decoder = _decoder(signed, identity)
        length = headers.get("content-length")
        if self._decoder is not None:
            length = headers.get("x-amz-decoded-content-length")
        self.size_bytes = _length(length)
        self._expected: dict[str, bytes | None] = {}
        for name in CHECKSUM_HEADERS:
            if name in headers:
                value = decode_checksum(name, headers[name])
                if value is None:
                    raise s3_refuse.invalid_digest(name.removeprefix("x-amz-checksum-").upper())
                self._expected[name] = value
        if self._decoder is not None and signed.endswith(_TRAILER):
            for word in headers.get("x-amz-trailer", "").split(","):
                name = word.strip().lower()
                if name in CHECKSUM_HEADERS:
                    self._expected.setdefault(name, None)
        self._running: dict[str, Checksum] = {name: new_checksum(name) for name in self._expected}

    async def chunks(self) -> AsyncIterator[bytes]:
        """The object's bytes.

        Raises IncompleteBody, BadDigest, XAmzContentSHA256Mismatch, SignatureDoesNotMatch or InvalidRequest at the end, and
        what ``body_chunks`` raises.
        """
        sha256 = hashlib.sha256() if self._sha256 is not None else None
        md5 = hashlib.md5(usedforsecurity=False) if self._md5 is not None else None
        watchers = [watcher for watcher in (sha256, md5, *self._running.values()) if watcher is not None]
        size_bytes = 0
        async for received in body_chunks(self._receive):
            for piece in (received,) if self._decoder is None else self._decoder.feed(received):
                size_bytes += len(piece)
                if self.size_bytes is not None and size_bytes > self.size_bytes:
                    raise s3_refuse.incomplete_body()
                for watcher in watchers:
                    watcher.update(piece)
                yield piece
        trailer = {} if self._decoder is None else self._decoder.finish()
        if self.size_bytes is not None and size_bytes != self.size_bytes:
            raise s3_refuse.incomplete_body()
        if sha256 is not None and sha256.hexdigest() != self._sha256:
            raise s3_refuse.payload_mismatch()
        if md5 is not None and md5.digest() != self._md5:
            raise s3_refuse.bad_digest("Content-MD5")
        self._check(trailer)

    def _check(self, trailer: Mapping[str, str]) -> None:
        for name, running in self._running.items():
            expected = self._expected[name]
            algorithm = name.removeprefix("x-amz-checksum-").upper()
            if expected is None:
                if name not in trailer:
                    raise refuse.invalid_request("Missing trailer")
                expected = decode_checksum(name, trailer[name])
                if expected is None:
                    raise s3_refuse.invalid_digest(algorithm)
            if running.digest() != expected:
                raise s3_refuse.bad_digest(algorithm)
            self.checksums[name] = base64.b64encode(expected).decode()


def _decoder(signed: str, identity: Identity) -> ChunkedDecoder | None:
    """The decoder of an aws-chunked body, None for a plain one. Raises InvalidArgument for an unknown kind."""
    if not signed.startswith("STREAMING-"):
        return None
    kind, has_trailer = signed.removesuffix(_TRAILER), signed.endswith(_TRAILER)
    if kind == _SIGNED_CHUNKS:
        return ChunkedDecoder(identity, has_trailer=has_trailer)
    if kind == _UNSIGNED_CHUNKS and has_trailer:
        return ChunkedDecoder(None, has_trailer=True)
    raise s3_refuse.invalid_argument(
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a known STREAMING- word or a SHA-256"
    )


def _length(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None


def _md5_of(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise s3_refuse.invalid_digest("Content-MD5") from error
    if len(value) != _MD5_BYTES:
        raise s3_refuse.invalid_digest("Content-MD5")
    return value
