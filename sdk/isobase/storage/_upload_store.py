"""Where the URLs of resumable uploads are remembered, so that an upload goes on after its process ended.

The URL alone opens nothing: every request also carries the caller's token, and the server asks the policies anew.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Final, Protocol

__all__ = ["FileUploadStore", "MemoryUploadStore", "UploadStore"]

LIFE_S: Final = 24 * 60 * 60
"""After this an upload URL is not tried any more: servers forget unfinished uploads after a day."""

log = logging.getLogger("isobase.storage")


class UploadStore(Protocol):
    """A place for upload URLs by fingerprint (64 hex digits). Make one of your own to keep them in a database."""

    def get(self, fingerprint: str) -> str | None:
        """Give the URL of an unfinished upload, or None."""
        ...

    def put(self, fingerprint: str, url: str) -> None:
        """Remember an upload that has begun."""
        ...

    def remove(self, fingerprint: str) -> None:
        """Forget an upload that is finished or lost."""
        ...


class MemoryUploadStore:
    """Remembers while the process lives."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}

    def get(self, fingerprint: str) -> str | None:
        """Give the URL of an unfinished upload, or None."""
        return self._urls.get(fingerprint)

    def put(self, fingerprint: str, url: str) -> None:
        """Remember an upload that has begun."""
        self._urls[fingerprint] = url

    def remove(self, fingerprint: str) -> None:
        """Forget an upload that is finished or lost."""
        self._urls.pop(fingerprint, None)


class FileUploadStore:
    """Remembers in a folder, one small file for each upload that is under way.

    ``directory``: default ``isobase/uploads`` below ``$XDG_CACHE_HOME`` or ``~/.cache``. A folder that cannot be
    written is no error: uploads then begin anew in a new process.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        self.directory: Path = Path(directory) if directory is not None else Path(cache, "isobase", "uploads")

    def _path(self, fingerprint: str) -> Path:
        return self.directory / f"{fingerprint}.json"

    def get(self, fingerprint: str) -> str | None:
        """Give the URL of an unfinished upload, or None."""
        path = self._path(fingerprint)
        try:
            entry = json.loads(path.read_text())
            url, saved_at = str(entry["url"]), float(entry["saved_at"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if time.time() - saved_at > LIFE_S:
            self.remove(fingerprint)
            return None
        return url

    def put(self, fingerprint: str, url: str) -> None:
        """Remember an upload that has begun."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile("w", dir=self.directory, suffix=".tmp", delete=False) as file:
                json.dump({"url": url, "saved_at": time.time()}, file)
            os.replace(file.name, self._path(fingerprint))
            self._forget_old()
        except OSError as error:
            log.debug("the upload's URL is not kept: %s", error)

    def _forget_old(self) -> None:
        """Remove what nobody came back for."""
        for path in self.directory.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > LIFE_S:
                    path.unlink()

    def remove(self, fingerprint: str) -> None:
        """Forget an upload that is finished or lost."""
        with contextlib.suppress(OSError):
            self._path(fingerprint).unlink()
