"""What resumable uploads refuse beyond what every upload does, in the words of upstream's TUS server.

Source: contracts/storage.md 1.4; ``@tus/utils`` 0.6 ``constants.ts``. The line ends are its own.
"""

from __future__ import annotations

from isobase_services.storage.errors import StorageError

__all__ = ["LeaseLost", "refuse_upload"]

_CODE = "TusError"


class LeaseLost(Exception):
    """Another writer has the upload: this one was silent for too long, and what it did since does not count."""


class refuse_upload:  # noqa: N801  reads as a verb, as ``errors.refuse``
    """The constructors, one per refusal."""

    @staticmethod
    def not_found() -> StorageError:
        """There is no such upload."""
        return StorageError(_CODE, 404, "The file for this url was not found\n")

    @staticmethod
    def expired() -> StorageError:
        """It was not finished in time."""
        return StorageError(_CODE, 410, "The file for this url no longer exists\n")

    @staticmethod
    def wrong_offset() -> StorageError:
        """The bytes do not begin where the upload ends."""
        return StorageError(_CODE, 409, "Upload-Offset conflict\n")

    @staticmethod
    def beyond_length() -> StorageError:
        """More bytes than the upload was said to have."""
        return StorageError(_CODE, 413, "upload's size exceeded\n")

    @staticmethod
    def too_large() -> StorageError:
        """More bytes than the project or the bucket allows."""
        return StorageError(_CODE, 413, "Maximum size exceeded\n")

    @staticmethod
    def wrong_length() -> StorageError:
        """A length that is missing, given twice, or less than what is there."""
        return StorageError(_CODE, 400, "Upload-Length or Upload-Defer-Length header required\n")

    @staticmethod
    def already_finished() -> StorageError:
        """A finished upload is an object: it is removed as one."""
        return StorageError(_CODE, 400, "Cannot terminate an already completed upload")

    @staticmethod
    def locked() -> StorageError:
        """Another request writes to it and did not let go in time."""
        return StorageError("ResourceLocked", 423, "The resource is locked")
