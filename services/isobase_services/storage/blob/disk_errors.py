"""What a failure of the disk means to a client: for blobs that lie on it, and for parts that wait on it for another store."""

from __future__ import annotations

import errno
import logging

from isobase_services.storage.blob import BlobStoreFull, BlobUnavailable

__all__ = ["from_os_error"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_log = logging.getLogger("isobase.storage")


def from_os_error(error: OSError) -> BlobUnavailable:
    """The error to raise instead, which says nothing of the inside; the log says the rest."""
    if error.errno in _FULL:
        _log.error("the disk is full", extra={"errno": error.errno})
        return BlobStoreFull()
    _log.error("the disk failed", exc_info=error)
    return BlobUnavailable("The storage failed")
