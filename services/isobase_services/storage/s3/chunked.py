"""The aws-chunked encoding of a body: chunks with their lengths, perhaps signed, perhaps with trailing headers.

    <hex length>[;chunk-signature=<hex>]CRLF <bytes> CRLF ... 0[;chunk-signature=<hex>]CRLF [<name>:<value>CRLF ...] CRLF

A pure decoder: bytes in, bytes out, nothing held but an unfinished line. A chunk's bytes are handed on before its signature
can be known, so who stores them must not make them visible before ``finish`` returned.
Source: AWS, "Signature calculations for the Authorization header: transferring payload in multiple chunks".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Protocol

from isobase_services.storage.errors import refuse
from isobase_services.storage.s3.errors import s3_refuse

__all__ = ["ChunkSigner", "ChunkedDecoder"]

MAX_CHUNK_HEADER_BYTES = 256
MAX_TRAILER_BYTES = 8192
MAX_CHUNK_BYTES = 5 * 1024**3
"""As large as the largest part."""
_CHUNK_HEADER = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-fA-F]{64}))?")
_SIGNATURE_TRAILER = "x-amz-trailer-signature"


class ChunkSigner(Protocol):
    """Knows the secret: what the signature after ``previous`` has to be."""

    def chunk(self, previous: str, sha256: str) -> str:
        """The signature of a chunk with this hash."""
        ...

    def trailer(self, previous: str, sha256: str) -> str:
        """The signature of trailing headers with this hash."""
        ...

    def is_equal(self, one: str, other: str) -> bool:
        """Compare two signatures in constant time."""
        ...

    @property
    def seed(self) -> str:
        """The signature of the request, which the first chunk's follows."""
        ...


class _State(Enum):
    HEADER = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()


class ChunkedDecoder:
    """Decodes one body.

    Parameters: ``signer`` where chunks are signed, else None; ``has_trailer``: trailing headers are announced and must come.
    ``feed`` and ``finish`` raise InvalidRequest for what is no such body and SignatureDoesNotMatch for a wrong signature.
    """

    def __init__(self, signer: ChunkSigner | None, *, has_trailer: bool) -> None:
        self._signer = signer
        self._has_trailer = has_trailer
        self._state = _State.HEADER
        self._pending = bytearray()
        self._remaining = 0
        self._is_last = False
        self._stated = ""
        self._previous = signer.seed if signer is not None else ""
        self._hash = hashlib.sha256()

    def feed(self, data: bytes) -> list[bytes]:
        """The decoded bytes of what arrived."""
        decoded: list[bytes] = []
        offset = 0
        while offset < len(data):
            if self._state is _State.DATA:
                piece = data[offset : offset + self._remaining] if offset or self._remaining < len(data) else data
                offset += len(piece)
                self._remaining -= len(piece)
                if self._signer is not None:
                    self._hash.update(piece)
                decoded.append(piece)
                if self._remaining == 0:
                    self._end_chunk()
            elif self._state is _State.TRAILER:
                self._pending += data[offset:]
                if len(self._pending) > MAX_TRAILER_BYTES:
                    raise refuse.invalid_request("The trailer is too long")
                offset = len(data)
            else:
                offset = self._read_line(data, offset)
        return decoded

    def _read_line(self, data: bytes, offset: int) -> int:
        end = data.find(b"\n", offset)
        cut = len(data) if end < 0 else end + 1
        self._pending += data[offset:cut]
        if len(self._pending) > MAX_CHUNK_HEADER_BYTES:
            raise refuse.invalid_request("The chunk header is too long")
        if end >= 0:
            line = bytes(self._pending)
            self._pending.clear()
            if not line.endswith(b"\r\n"):
                raise refuse.invalid_request("Invalid chunk header")
            if self._state is _State.DATA_END:
                if line != b"\r\n":
                    raise refuse.invalid_request("Invalid end of a chunk")
                self._state = _State.HEADER
            else:
                self._begin_chunk(line[:-2])
        return cut

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_HEADER.fullmatch(line)
        if match is None or (match[2] is None) is not (self._signer is None):
            raise refuse.invalid_request("Invalid chunk header")
        self._remaining = int(match[1], 16)
        if self._remaining > MAX_CHUNK_BYTES:
            raise refuse.too_large("chunk")
        self._stated = (match[2] or b"").decode().lower()
        self._is_last = self._remaining == 0
        self._state = _State.DATA
        if self._is_last:
            self._end_chunk()

    def _end_chunk(self) -> None:
        if self._signer is not None:
            expected = self._signer.chunk(self._previous, self._hash.hexdigest())
            if not self._signer.is_equal(expected, self._stated):
                raise s3_refuse.signature_mismatch()
            self._previous = expected
            self._hash = hashlib.sha256()
        self._state = _State.TRAILER if self._is_last else _State.DATA_END

    def finish(self) -> Mapping[str, str]:
        """The trailing headers, once the body is over; their names in lower case."""
        if self._state is not _State.TRAILER:
            raise refuse.invalid_request("Missing final chunk")
        lines = [line.strip() for line in bytes(self._pending).split(b"\n")]
        if not self._has_trailer:
            if any(lines):
                raise refuse.invalid_request("Invalid trailer")
            return {}
        headers: dict[str, str] = {}
        for line in filter(None, lines):
            name, separator, value = line.decode("latin-1").partition(":")
            if not separator or name.lower() in headers:
                raise refuse.invalid_request("Invalid trailer")
            headers[name.strip().lower()] = value.strip()
        stated = headers.pop(_SIGNATURE_TRAILER, None)
        if not headers:
            raise refuse.invalid_request("Missing trailer")
        if self._signer is not None:
            text = "".join(f"{name}:{value}\n" for name, value in headers.items())
            expected = self._signer.trailer(self._previous, hashlib.sha256(text.encode("latin-1")).hexdigest())
            if stated is None or not self._signer.is_equal(expected, stated):
                raise s3_refuse.signature_mismatch()
        return headers
