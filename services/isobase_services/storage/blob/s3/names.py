"""How blobs are named in a bucket: ``prefix/bucket/name/version``, or without the version where a row has none.

The same as upstream's S3 backend, so that its bucket is served as it is. (Source: upstream ``withOptionalVersion``; its
prefix is the tenant id.) On AWS a key is a text and no path, but some servers take it for one (versitygw): a segment ``..``
would lead out of the prefix there, so such a name has no blob. A version that is no uuid finds nothing: with one like
``other/name/<uuid>`` a row written by SQL could name another object's blob.
"""

from __future__ import annotations

import re

from isobase_services.storage.blob import BlobKey, BlobMissing, UploadMissing
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import is_uuid

__all__ = ["MAX_KEY_BYTES", "ObjectNames", "check_upload"]

MAX_KEY_BYTES = 1024
"""S3's limit of a key's length in UTF-8."""
_UPLOAD = re.compile(r"[\x21-\x7e]{1,1024}")


class ObjectNames:
    """Names of blobs below one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def existing(self, key: BlobKey) -> str:
        """The S3 key of a blob that may be there. Raises ``BlobMissing`` for one that cannot be."""
        if key.version and not is_uuid(key.version):
            raise BlobMissing
        name = self._join(key)
        if not _is_possible(name):
            raise BlobMissing
        return name

    def new(self, key: BlobKey) -> str:
        """The S3 key of a blob to be made. Raises ``BlobMissing`` for a version that is no uuid, and InvalidKey."""
        if not is_uuid(key.version):
            raise BlobMissing
        name = self._join(key)
        if not _is_possible(name):
            raise refuse.invalid_key(key.name)
        return name

    def _join(self, key: BlobKey) -> str:
        version = f"/{key.version}" if key.version else ""
        return f"{self.prefix}{key.bucket}/{key.name}{version}"


def _is_possible(name: str) -> bool:
    if "\0" in name or len(name.encode("utf-8", "replace")) > MAX_KEY_BYTES:
        return False
    return not any(segment in {".", ".."} for segment in name.split("/"))


def check_upload(upload: str) -> str:
    """The reference of an upload, if it can be one. Raises ``UploadMissing``."""
    # Servers that keep uploads in directories have taken such a reference for a path.
    if not _UPLOAD.fullmatch(upload) or any(segment in {".", ".."} for segment in upload.split("/")):
        raise UploadMissing
    return upload
