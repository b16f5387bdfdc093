"""What can be sent as a file: bytes, a path, or an open binary file, with its size."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import IO, TypeAlias

__all__ = ["PIECE_BYTES", "Progress", "Sendable", "Source", "content_type_of", "opened"]

PIECE_BYTES = 256 * 1024

Sendable: TypeAlias = bytes | bytearray | memoryview | str | Path | IO[bytes]
"""Bytes, the path of a file (a text is one), or a file that is open for reading bytes and can seek."""
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes that were handed to the connection, and all bytes."""


@dataclass(slots=True)
class Source:
    """An open file from where it stands to its end. ``name``: its last path segment, where it has one."""

    file: IO[bytes]
    size: int
    name: str | None
    is_ours: bool = False

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self.is_ours:
            self.file.close()


def opened(file: Sendable) -> Source:
    """Open what shall be sent. Raises ``OSError``, and ``TypeError`` for a file of texts."""
    if isinstance(file, bytes | bytearray | memoryview):
        return Source(BytesIO(file), memoryview(file).nbytes, None)
    if isinstance(file, str | Path):
        handle = Path(file).open("rb")  # noqa: SIM115  (closed by Source.close)
        return Source(handle, os.fstat(handle.fileno()).st_size, Path(file).name, is_ours=True)
    here = file.tell()
    size = file.seek(0, SEEK_END) - here
    file.seek(here)
    if file.read(0) != b"":
        raise TypeError("the file must be open for bytes: mode 'rb'")
    name = getattr(file, "name", None)
    return Source(file, size, Path(name).name if isinstance(name, str) else None)


def content_type_of(name: str | None, given: str | None) -> str:
    """Give the type that the caller named, else the one that the file's name says."""
    return given or (mimetypes.guess_type(name)[0] if name else None) or "application/octet-stream"
