"""A project's files for its buckets: ``objects_path`` in config.toml, uploaded at start where they are missing.

Source: the Supabase command line, which uploads the folder of each ``[storage.buckets.NAME]`` when it starts.
"""

from __future__ import annotations

import asyncio
import logging
import mimetypes
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from isobase_platform.caller import Caller
from isobase_platform.config_storage import BucketSettings
from isobase_services.storage.core import StorageCore
from isobase_services.storage.core.database import Actor
from isobase_services.storage.core.object_metadata import DEFAULT_MIME_TYPE
from isobase_services.storage.core.upload import UploadFacts, UploadTarget
from isobase_services.storage.errors import StorageError

__all__ = ["seed_objects"]

READ_BYTES = 1024 * 1024
CACHE_CONTROL = "max-age=3600"
_log = logging.getLogger("isobase.storage")


async def seed_objects(core: StorageCore, buckets: Mapping[str, BucketSettings]) -> None:
    """Upload what is missing, as the service. A file that the bucket refuses is a warning, never a failed start."""
    for bucket, settings in buckets.items():
        if settings.objects_path is None:
            continue
        files = await asyncio.to_thread(lambda folder: list(_files(folder)), settings.objects_path)
        if not files:
            _log.warning("a bucket's objects_path holds no file", extra={"bucket": bucket})
        for key, path in files:
            await _upload(core, bucket, key, path)


async def _upload(core: StorageCore, bucket: str, key: str, path: Path) -> None:
    actor = Actor(Caller.service(), "storage.object.upload")
    target = UploadTarget(bucket, key, None, is_upsert=False)
    try:
        await core.uploads.upload(actor, target, _File(path))
    except StorageError as error:
        if error.code != "KeyAlreadyExists":
            _log.warning("a file was not uploaded", extra={"bucket": bucket, "key": key, "reason": error.message})
    except OSError as error:
        _log.warning("a file cannot be read", extra={"bucket": bucket, "key": key, "reason": error.strerror})


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Key and path of every file below the folder; links are not followed."""
    for directory, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix(), path


class _File:
    """A local file as the core takes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        size = path.stat().st_size
        self.facts = UploadFacts(
            mime_type=mimetypes.guess_type(path.name)[0] or DEFAULT_MIME_TYPE,
            cache_control=CACHE_CONTROL,
            user_metadata=None,
            declared_length=size,
            known_size=size,
            robots_tag=None,
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(self._path.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, READ_BYTES):
                yield chunk
