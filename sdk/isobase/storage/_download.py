"""What a download knows of its object, and whether it may go on after a cut: pure.

A part of an object may be put behind another only where both are of the same version, told by the etag (RFC 9110, 13.1.5);
without an etag a cut download fails rather than mix two files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from isobase.storage.exceptions import TransferError

__all__ = ["Reception"]

CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(slots=True)
class Reception:
    """How far a download is. ``total`` is None where the server does not say it."""

    received: int = 0
    total: int | None = None
    etag: str | None = None
    is_encoded: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_go_on(self) -> bool:
        """Whether the rest can be asked for after a cut."""
        return self.received == 0 or (self.etag is not None and not self.is_encoded)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, as far as one can know."""
        return self.total is None or self.received == self.total

    def request_headers(self) -> dict[str, str]:
        """Give the headers of the next request: for all, or for what is missing."""
        headers = {"accept-encoding": "identity"}
        if self.received:
            headers["range"] = f"bytes={self.received}-"
        return headers

    def begin(self, status: int, headers: Mapping[str, str]) -> int:
        """Take note of an answer; gives how many of its bytes are there already.

        Raises :class:`TransferError` where the object is another than before.
        """
        if self.received == 0:
            self.headers = headers
            self.etag = headers.get("etag")
            self.is_encoded = "content-encoding" in headers
            length = headers.get("content-length")
            self.total = int(length) if length is not None and not self.is_encoded else None
            return 0
        if headers.get("etag") != self.etag:
            raise TransferError("The object was replaced while it was read")
        if status != HTTPStatus.PARTIAL_CONTENT:
            return self.received  # a server that does not know ranges sends all of it once more
        found = CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if found is None or int(found[1]) != self.received:
            raise TransferError("The server sent another part of the object than it was asked for")
        return 0
