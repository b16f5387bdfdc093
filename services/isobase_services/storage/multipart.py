"""A multipart/form-data upload read as a stream: one file, a few fields before or after it, nothing held whole.

The file's part may have any field name, also none (storage-js), and is known by its file name or by being
``application/octet-stream``. Source: contracts/storage.md 1.2 "Upload rules"; the parser is python-multipart's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from isobase_services.storage.errors import refuse

__all__ = ["MAX_FIELDS", "MAX_FIELD_BYTES", "FilePart", "MultipartForm"]

MAX_FIELDS = 10
MAX_FIELD_BYTES = 1024 * 1024
MAX_FIELDS_BYTES = 2 * 1024 * 1024
"""All fields together: they are held while the file arrives, however long it takes, of as many clients as there are."""
_MALFORMED = "Malformed part header or boundary in multipart data"
_NO_PART = "Unexpected end of multipart data"
_TRUNCATED = "Part terminated early due to unexpected end of multipart data"


@dataclass(slots=True, frozen=True)
class FilePart:
    """What the file's part says of itself.

    ``content_type`` is in lower case and without parameters, ``text/plain`` where the part names none, as upstream's
    parser reports it.
    """

    name: str
    filename: str
    content_type: str


class MultipartForm:
    """Reads one form. Call ``head``, then iterate ``file_chunks`` to its end; ``fields`` grows until then.

    Parameters: ``content_type`` of the request; ``chunks``, its body; ``file_field``, the one name that the file's part may
    have, whatever else it says, or None for the rule above. ``max_fields_bytes`` bounds all fields together; what does not
    fit is in ``oversized_fields`` instead. Raises InvalidRequest for what is no form.
    """

    def __init__(
        self,
        content_type: str,
        chunks: AsyncIterator[bytes],
        *,
        max_fields: int = MAX_FIELDS,
        max_fields_bytes: int = MAX_FIELDS_BYTES,
        file_field: str | None = None,
    ) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise refuse.invalid_request("Multipart: Boundary not found")
        self._chunks = chunks
        self.fields: dict[str, str] = {}
        self.oversized_fields: set[str] = set()
        self.repeated_fields: set[str] = set()
        self._max_fields = max_fields
        self._room_bytes = max_fields_bytes
        self._file_field = file_field
        self._file: FilePart | None = None
        self._file_chunks: deque[bytes] = deque()
        self._is_over = False
        self._in_file = False
        self._field_name: str | None = None
        self._field_value = bytearray()
        self._field_count = 0
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise refuse.invalid_request("Multipart: Boundary not found") from error

    async def head(self) -> FilePart:
        """Read up to the file's first bytes, and as far as the first chunk of the body happens to reach.

        Raises InvalidRequest where the form ends without a file.
        """
        is_empty = True
        while self._file is None:
            if not await self._read_on():
                raise refuse.invalid_request("No content provided" if self._is_over or is_empty else _NO_PART)
            is_empty = False
        return self._file

    async def file_chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes; afterwards the rest of the form has been read too.

        Raises InvalidRequest for a form that ends before its closing boundary.
        """
        while True:
            while self._file_chunks:
                yield self._file_chunks.popleft()
            if not await self._read_on():
                break
        if not self._is_over:
            raise refuse.invalid_request(_TRUNCATED)

    async def _read_on(self) -> bool:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            return False
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            is_begun = self._file is not None or self._field_count > 0
            raise refuse.invalid_request(_MALFORMED if is_begun else _NO_PART) from error
        return True

    def _on_part_begin(self) -> None:
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _on_headers_finished(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        stated = self._headers.get(b"content-type", b"").decode("latin-1")
        content_type = stated.partition(";")[0].strip().lower() or "text/plain"
        name = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        self._in_file = False
        self._field_name = None
        is_file = filename is not None or content_type == "application/octet-stream"
        if is_file if self._file_field is None else name == self._file_field:
            # A second file is read over, as upstream reads one only.
            if self._file is None:
                self._in_file = True
                text = (filename or b"").decode("utf-8", "replace")
                self._file = FilePart(name, text, content_type)
            return
        self._field_count += 1
        if self._field_count > self._max_fields:
            raise refuse.invalid_request("reach fields limit")
        self._field_name = name
        self._field_value.clear()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._file_chunks.append(data[start:end])
        elif self._field_name is not None:
            self._room_bytes -= end - start
            if self._room_bytes < 0 or len(self._field_value) + end - start > MAX_FIELD_BYTES:
                self.oversized_fields.add(self._field_name)
                self._room_bytes += len(self._field_value) + end - start
                self._field_value.clear()
                self._field_name = None
                return
            self._field_value += data[start:end]

    def _on_part_end(self) -> None:
        if self._field_name is not None:
            if self._field_name in self.fields:
                self.repeated_fields.add(self._field_name)
            self.fields[self._field_name] = self._field_value.decode("utf-8", "replace")
        self._in_file = False
        self._field_name = None

    def _on_end(self) -> None:
        self._is_over = True
