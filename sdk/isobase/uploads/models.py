"""What the upload routes answer. Source: docs/storage-uploads.md."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["BegunUpload", "StoredFile"]


@dataclass(slots=True, frozen=True)
class StoredFile:
    """A stored file. ``url`` is good for ``expires_in`` seconds, for ever where that is None. ``size`` in bytes."""

    file_id: str
    url: str
    key: str
    expires_in: int | None = None
    size: int | None = None
    content_type: str | None = None


@dataclass(slots=True, frozen=True)
class BegunUpload:
    """Where the bytes of an announced file go: with ``method`` and ``headers`` to ``upload_url``, within
    ``expires_in`` seconds.

    The URL allows the upload by itself, so it is left out of the object's text.
    """

    upload_id: str
    upload_url: str = field(repr=False)
    method: str
    headers: dict[str, str]
    key: str
    expires_in: int
