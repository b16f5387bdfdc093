"""What only the S3 protocol refuses, and the one place that knows its error document.

``<Error>`` has no namespace (upstream puts one there, and botocore then finds neither code nor message) and true HTTP
statuses. Source: contracts/storage.md 1.5; upstream ``src/http/routes/s3/error-handler.ts``; AWS's list of error codes.
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import Response
from starlette.types import Scope

from isobase_platform.errors import BodyTooLarge, DatabaseError, IsobaseError, MethodNotAllowed, NotFound, Unavailable
from isobase_platform.http.request import request_id
from isobase_services.storage.errors import StorageError, from_database, from_unavailable, refuse
from isobase_services.storage.s3.xml import XML_TYPE, element, render

__all__ = ["render_error", "s3_refuse"]

MAX_RESOURCE_CHARS = 1100
"""A bucket's name and a key; what is longer in a path is cut in an error."""
_CODE_BY_UPSTREAM = {"KeyAlreadyExists": "ResourceAlreadyExists", "FST_ERR_BAD_URL": "InvalidURI"}


class s3_refuse:  # noqa: N801  reads as a verb: raise s3_refuse.not_implemented()
    """The constructors, one per refusal."""

    @staticmethod
    def signature_mismatch(*, has_session: bool = False) -> StorageError:
        """The signature is not the one that the secret gives."""
        message = "The request signature we calculated does not match the signature you provided"
        hint = (
            ", Check your credentials. The session token should be a valid JWT token"
            if has_session
            else ". Check your key and signing method."
        )
        return StorageError("SignatureDoesNotMatch", 403, message + hint)

    @staticmethod
    def invalid_signature(message: str = "Invalid signature format") -> StorageError:
        """The signature's parts cannot be read."""
        return StorageError("InvalidSignature", 400, message)

    @staticmethod
    def expired() -> StorageError:
        """A presigned URL or a form's policy is over."""
        return StorageError("ExpiredToken", 400, "The provided token has expired.")

    @staticmethod
    def clock_skew() -> StorageError:
        """The request was signed too long ago, or in the future."""
        message = "The difference between the request time and the current time is too large."
        return StorageError("RequestTimeTooSkewed", 403, message)

    @staticmethod
    def not_implemented(what: str) -> StorageError:
        """A part of S3 that is not here."""
        return StorageError("NotImplemented", 501, f"{what} is not implemented")

    @staticmethod
    def malformed_xml(message: str = "The XML you provided was not well-formed") -> StorageError:
        """The body is no XML, or not the document that the operation takes."""
        return StorageError("MalformedXML", 400, message)

    @staticmethod
    def incomplete_body() -> StorageError:
        """Fewer bytes than were announced."""
        message = "You did not provide the number of bytes specified by the Content-Length HTTP header"
        return StorageError("IncompleteBody", 400, message)

    @staticmethod
    def payload_mismatch() -> StorageError:
        """The body's SHA-256 is not the signed one."""
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        return StorageError("XAmzContentSHA256Mismatch", 400, message)

    @staticmethod
    def bad_digest(what: str) -> StorageError:
        """A checksum of the body is not what the client said."""
        return StorageError("BadDigest", 400, f"The {what} you specified did not match the calculated checksum.")

    @staticmethod
    def invalid_digest(what: str) -> StorageError:
        """A checksum that is none."""
        return StorageError("InvalidDigest", 400, f"The {what} you specified is not valid.")

    @staticmethod
    def invalid_argument(message: str) -> StorageError:
        """A header or a query member that cannot be used."""
        return StorageError("InvalidArgument", 400, message)

    @staticmethod
    def missing_content_length() -> StorageError:
        """The operation needs to know the length before it reads."""
        return StorageError("MissingContentLength", 400, "You must provide the Content-Length HTTP header.")

    @staticmethod
    def no_such_version() -> StorageError:
        """Objects have no versions that could be asked for."""
        return StorageError(
            "NoSuchVersion", 404, "The version ID specified in the request does not match an existing version"
        )


def render_error(error: IsobaseError, scope: Scope) -> Response:
    """The error document for any error of the house. A HEAD request gets the status alone."""
    known = _storage_error(error)
    status = known.wire_status or known.status
    headers = {"content-type": XML_TYPE, "x-amz-request-id": request_id(scope)}
    if known.status == 304:
        return Response(status_code=304, headers={"x-amz-request-id": request_id(scope)})
    if scope["method"] == "HEAD":
        return Response(status_code=status, headers=headers)
    path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
    document = element(
        "Error",
        element("Code", _CODE_BY_UPSTREAM.get(known.code, known.code)),
        element("Message", known.message),
        element("Resource", path[:MAX_RESOURCE_CHARS]),
        element("RequestId", request_id(scope)),
    )
    return Response(render(document, has_namespace=False), status_code=status, headers=headers)


def _storage_error(error: IsobaseError) -> StorageError:
    if isinstance(error, StorageError):
        return error
    if isinstance(error, BodyTooLarge):
        return StorageError("MaxMessageLengthExceeded", 400, "Your request was too big.")
    if isinstance(error, DatabaseError):
        return from_database(error)
    if isinstance(error, Unavailable):
        return from_unavailable(error)
    if isinstance(error, NotFound | MethodNotAllowed):
        message = "The specified method is not allowed against this resource."
        return StorageError("MethodNotAllowed", HTTPStatus.METHOD_NOT_ALLOWED, message)
    if error.status < 500:
        return refuse.invalid_request(error.message, status=error.status)
    return StorageError("InternalError", 500, "Internal Server Error")
