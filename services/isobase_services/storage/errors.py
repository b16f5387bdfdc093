"""Everything that storage may refuse, as values of one class; no face's wire shape is built here.

``StorageError`` is the house's error with the two facts that the storage API adds: the legacy ``error`` label and the HTTP
status on the wire where it is not the rule's (``rest.render`` knows the rule). The constructors below are the whole list.
Source: contracts/storage.md 1.0; upstream ``src/internal/errors/codes.ts`` for codes and texts.
"""

from __future__ import annotations

from isobase_platform.errors import DatabaseError, IsobaseError, Unavailable

__all__ = ["StorageError", "from_database", "from_unavailable", "refuse"]


class StorageError(IsobaseError):
    """A refusal of the storage service.

    ``status`` is the true HTTP status (the REST face writes it into the body's ``statusCode``); ``label`` the legacy
    ``error`` word, default ``code``; ``wire_status`` what the REST face sends as HTTP status instead of its usual 400.
    """

    def __init__(
        self, code: str, status: int, message: str, *, label: str | None = None, wire_status: int | None = None
    ) -> None:
        super().__init__(message, code=code, status=status)
        self.label = label or code
        self.wire_status = wire_status


class refuse:  # noqa: N801  reads as a verb: raise refuse.no_such_bucket()
    """The constructors, one per refusal."""

    @staticmethod
    def no_such_bucket() -> StorageError:
        """The bucket is absent, hidden by policies, or private on a public route."""
        return StorageError("NoSuchBucket", 404, "Bucket not found", label="Bucket not found")

    @staticmethod
    def no_such_key() -> StorageError:
        """The object is absent or hidden by policies."""
        return StorageError("NoSuchKey", 404, "Object not found", label="not_found")

    @staticmethod
    def blob_missing() -> StorageError:
        """The row is there, its bytes are not (a row seeded by SQL)."""
        return StorageError("NoSuchKey", 404, "The resource was not found", label="Not found")

    @staticmethod
    def access_denied(message: str = "Access denied") -> StorageError:
        """Policies or a token refuse."""
        return StorageError("AccessDenied", 403, message, label="Unauthorized")

    @staticmethod
    def role_refused(message: str) -> StorageError:
        """A route for one role only; true HTTP 403 on the wire."""
        return StorageError("AccessDenied", 403, message, label="Unauthorized", wire_status=403)

    @staticmethod
    def already_exists(code: str = "ResourceAlreadyExists") -> StorageError:
        """``code`` is BucketAlreadyExists, KeyAlreadyExists or ResourceAlreadyExists."""
        return StorageError(code, 409, "The resource already exists", label="Duplicate")

    @staticmethod
    def feature_not_enabled(feature: str) -> StorageError:
        """Something that this server does not do."""
        message = f"The feature {feature} is not enabled for this resource"
        return StorageError("FeatureNotEnabled", 409, message)

    @staticmethod
    def bucket_not_empty() -> StorageError:
        """A bucket is deleted only when it holds no object."""
        return StorageError("ResourceNotEmpty", 409, "The bucket you tried to delete is not empty")

    @staticmethod
    def too_many_to_empty() -> StorageError:
        """More objects than one request may empty."""
        message = "Unable to empty the bucket because it contains too many objects"
        return StorageError("InvalidRequest", 409, message)

    @staticmethod
    def invalid_bucket_name() -> StorageError:
        """A bucket name outside the allowed characters or length."""
        return StorageError("InvalidBucketName", 400, "Bucket name invalid", label="Invalid Input")

    @staticmethod
    def invalid_key(key: str) -> StorageError:
        """An object key outside the allowed characters, or with a ``.`` or ``..`` segment."""
        return StorageError("InvalidKey", 400, f"Invalid key: {key}")

    @staticmethod
    def invalid_mime_type(mime_type: str) -> StorageError:
        """The bucket does not take this type, or a pattern for a bucket is none."""
        message = f"mime type {mime_type} is not supported"
        return StorageError("InvalidMimeType", 415, message, label="invalid_mime_type")

    @staticmethod
    def invalid_mime_type_header() -> StorageError:
        """The request's Content-Type is no media type."""
        return StorageError("InvalidMimeType", 415, "Invalid Content-Type header", label="invalid_mime_type")

    @staticmethod
    def too_large(entity: str = "object") -> StorageError:
        """Larger than the limit of the project, the bucket, or the field."""
        message = f"The {entity} exceeded the maximum allowed size"
        return StorageError("EntityTooLarge", 413, message, label="Payload too large")

    @staticmethod
    def invalid_range() -> StorageError:
        """A Range header that cannot be served; true HTTP 416."""
        return StorageError("InvalidRange", 416, "invalid range provided", label="invalid_range", wire_status=416)

    @staticmethod
    def invalid_jwt(message: str) -> StorageError:
        """A signed URL's token does not verify."""
        return StorageError("InvalidJWT", 400, message)

    @staticmethod
    def invalid_signature(message: str = "Invalid signature") -> StorageError:
        """A signed URL's token is for another path or another action."""
        return StorageError("InvalidSignature", 400, message)

    @staticmethod
    def invalid_parameter(what: str) -> StorageError:
        """A value that passed the schema and still cannot be used."""
        return StorageError("InvalidParameter", 400, f"Invalid Parameter {what}")

    @staticmethod
    def internal(message: str) -> StorageError:
        """Something that the server needs failed; the message says what, and nothing of how."""
        return StorageError("InternalError", 500, message)

    @staticmethod
    def missing_parameter(name: str) -> StorageError:
        """A member of the request that has to be there."""
        return StorageError("MissingParameter", 400, f"Missing Required Parameter {name}")

    @staticmethod
    def invalid_request(message: str, *, label: str | None = None, status: int = 400) -> StorageError:
        """The request cannot be understood."""
        return StorageError("InvalidRequest", status, message, label=label)

    @staticmethod
    def precondition_failed() -> StorageError:
        """A condition of the request on an object does not hold; true HTTP 412."""
        message = "At least one of the pre-conditions you specified did not hold"
        return StorageError("PreconditionFailed", 412, message, wire_status=412)

    @staticmethod
    def bad_url(path: str) -> StorageError:
        """A path with percent signs that encode no text."""
        message = f"'{path}' is not a valid url component"
        return StorageError("FST_ERR_BAD_URL", 400, message, label="Bad Request")

    @staticmethod
    def no_such_upload() -> StorageError:
        """An upload in parts that was never begun, or is over."""
        return StorageError("NoSuchUpload", 404, "Upload not found")

    @staticmethod
    def invalid_part() -> StorageError:
        """A part that is not there, or not the one that was named."""
        message = (
            "One or more of the specified parts could not be found. The part might not have been uploaded, "
            "or the specified entity tag might not have matched the part's entity tag."
        )
        return StorageError("InvalidPart", 400, message)

    @staticmethod
    def invalid_part_order() -> StorageError:
        """Parts that are not named in the order of their numbers."""
        message = "The list of parts was not in ascending order. Parts must be ordered by part number."
        return StorageError("InvalidPartOrder", 400, message)

    @staticmethod
    def part_too_small() -> StorageError:
        """A part that is not the last, and smaller than the blob store takes."""
        return StorageError("EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size")

    @staticmethod
    def lock_timeout() -> StorageError:
        """Another writer of the same key held it for too long."""
        return StorageError("LockTimeout", 503, "acquiring lock timeout", label="acquiring_lock_timeout")

    @staticmethod
    def database_timeout() -> StorageError:
        """The database did not answer in time, or not at all; 544 on the wire."""
        message = "The connection to the database timed out"
        return StorageError("DatabaseTimeout", 544, message, wire_status=544)

    @staticmethod
    def too_many_connections() -> StorageError:
        """PostgreSQL has no connection left; 429 on the wire."""
        message = "Too many connections issued to the database"
        return StorageError("SlowDown", 429, message, label="too_many_connections", wire_status=429)


_PENDING_UPLOAD_CONSTRAINTS = frozenset(
    {"s3_multipart_uploads_bucket_id_fkey", "s3_multipart_uploads_parts_bucket_id_fkey"}
)


_FULL = ("too many clients", "too many connections", "connection slots")
"""How PostgreSQL and poolers say that they have no connection left."""


def from_unavailable(error: Unavailable) -> StorageError:
    """What it means that PostgreSQL cannot be had: it has no connection left, or it does not answer."""
    is_full = any(sign in (error.details or "") for sign in _FULL)
    return refuse.too_many_connections() if is_full else refuse.database_timeout()


def from_database(error: DatabaseError) -> StorageError:
    """What a refusal of PostgreSQL means to a storage client, by SQLSTATE.

    Source: upstream ``src/storage/database/errors.ts``. 22021 and 22P05 (a NUL or broken text in a value), 22007 and 22008 (a
    cursor with a time that is none) are answered as 22P02 is: upstream calls them internal errors, but it is the request
    that is wrong.
    """
    state = error.sqlstate
    if state == "42501":
        is_policy = "row-level security" in error.message
        return refuse.access_denied("new row violates row-level security policy" if is_policy else error.message)
    if state == "22023" and 'role "' in error.message:
        # The token asks for a role that is none; upstream calls it an internal error, but it is the token that is wrong.
        return refuse.access_denied("Access denied: Invalid role")
    if state == "23505":
        return refuse.already_exists()
    if state == "23503":
        if "is still referenced from table" not in (error.details or ""):
            return refuse.invalid_request("The related resource does not exist", status=404)
        is_pending = error.constraint in _PENDING_UPLOAD_CONSTRAINTS
        return StorageError(
            "ResourceReferenced",
            409,
            "The bucket could not be updated because it is referenced by a pending multipart upload."
            if is_pending
            else "The resource could not be updated or removed due to a foreign key constraint",
        )
    if state == "54000":
        # Names are indexed; PostgreSQL takes some 2,700 bytes that do not compress. Upstream answers 500.
        return StorageError("InvalidKey", 400, "Invalid key: it is too long")
    if state == "55P03":
        return StorageError("ResourceLocked", 423, "The resource is locked")
    if state == "57014":
        return refuse.database_timeout()
    if state == "25006":
        message = "The database is currently in read-only mode. Please try again later."
        return StorageError("DatabaseReadOnly", 503, message)
    if state == "42P17":
        message = "The database schema is invalid or incompatible."
        return StorageError("DatabaseInvalidObjectDefinition", 503, message)
    if state in {"22P02", "22P05", "22021", "22007", "22008"}:
        return StorageError("InvalidParameter", 400, error.message)
    if state in {"42703", "42P01"}:
        message = "The database schema is out of sync. Please run migrations or contact support."
        return StorageError("DatabaseSchemaMismatch", 503, message)
    return StorageError("DatabaseError", 500, f"database error, code: {state}")
