"""Where things are below the root of the local-disk backend, and how they are opened: names and descriptors.

No part of a path is text that a user chose, and no symbolic link is ever followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat

from isobase_services.storage.blob import BlobKey, BlobMissing
from isobase_services.storage.rules import is_uuid

__all__ = [
    "DIRECTORY_FLAGS",
    "MODE_DIRECTORY",
    "MODE_FILE",
    "open_blob",
    "open_directory",
    "place_of",
    "read_fully",
    "remove_tree",
    "stat_blob",
]

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MODE_DIRECTORY = 0o700
MODE_FILE = 0o600
_log = logging.getLogger("isobase.storage")


def place_of(key: BlobKey) -> tuple[str, str]:
    """Shard and file name of a blob. Raises ``BlobMissing`` for a version that this store never made."""
    if not is_uuid(key.version):
        raise BlobMissing
    digest = hashlib.sha256(f"{key.bucket}\0{key.name}".encode()).hexdigest()
    return digest[:2], f"{digest}.{key.version.lower()}"


def open_directory(name: str, parent: int) -> int:
    """Open the directory ``name`` under ``parent``, made durably where it is missing; never through a link."""
    try:
        return os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, MODE_DIRECTORY, dir_fd=parent)
        os.fsync(parent)
        return os.open(name, DIRECTORY_FLAGS, dir_fd=parent)


def open_blob(objects: int, shard: str, name: str) -> int:
    """Open a blob's file for reading. Raises ``BlobMissing``."""
    try:
        directory = os.open(shard, DIRECTORY_FLAGS, dir_fd=objects)
        try:
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
        finally:
            os.close(directory)
    except FileNotFoundError as error:
        raise BlobMissing from error
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
            raise
        # A link where a blob should be: somebody changed the root by hand. Never follow it.
        _log.warning("blob cannot be opened", extra={"blob": name, "errno": error.errno})
        raise BlobMissing from error


def stat_blob(objects: int, shard: str, name: str) -> os.stat_result:
    """The facts of a blob's file. Raises ``BlobMissing``."""
    try:
        directory = os.open(shard, DIRECTORY_FLAGS, dir_fd=objects)
        try:
            facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(directory)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            raise
        raise BlobMissing from error
    if not stat.S_ISREG(facts.st_mode):
        raise BlobMissing
    return facts


def read_fully(descriptor: int, size_bytes: int, offset: int) -> bytes:
    """``size_bytes`` bytes from ``offset`` on, or what there is up to the end of the file."""
    content = os.pread(descriptor, size_bytes, offset)
    while len(content) < size_bytes:
        more = os.pread(descriptor, size_bytes - len(content), offset + len(content))
        if not more:
            break
        content += more
    return content


def remove_tree(name: str, parent: int) -> None:
    """Remove a file, or a directory and the files in it, as far as that goes; what is not there is no error."""
    try:
        directory = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        return
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        return
    try:
        for entry in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(entry, dir_fd=directory)
    finally:
        os.close(directory)
    # A writer that has not heard yet may add a file; then the directory stays for the next start to remove.
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=parent)
