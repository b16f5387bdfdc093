"""AWS Signature Version 4, as pure functions: what a client signed, and the signature that a secret gives for it.

Four ways to sign: the Authorization header, the query of a presigned URL, the policy of a POST form, and each chunk of an
aws-chunked body. Nothing here knows whose secret it is or what time it is. Source: AWS, "Signature Version 4 signing
process" and "Authenticating Requests (AWS Signature Version 4)" of S3; contracts/storage.md 1.5.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote, unquote_plus

__all__ = [
    "ALGORITHM",
    "EMPTY_SHA256",
    "UNSIGNED_PAYLOAD",
    "CanonicalForm",
    "ClientSignature",
    "Credential",
    "SignatureFormatError",
    "SignedRequest",
    "chunk_signature",
    "is_equal",
    "parse_authorization",
    "parse_credential",
    "parse_date",
    "parse_query",
    "policy_signature",
    "request_signature",
    "split_query",
    "trailer_signature",
]

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_SIGNED_HEADERS = 100
MAX_QUERY_MEMBERS = 200
_SAFE = "-_.~"
_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SPACES = re.compile(r"\s+")


class SignatureFormatError(Exception):
    """What should be a signature cannot be read; the text says why, in upstream's words."""


@dataclass(slots=True, frozen=True)
class Credential:
    """The scope of a signature: ``access_key/date/region/service/aws4_request``."""

    access_key: str
    date: str
    region: str
    service: str

    @property
    def scope(self) -> str:
        """The scope without the access key."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(slots=True, frozen=True)
class ClientSignature:
    """What the client claims. ``payload`` is the hash of the body that it signed, or a word such as UNSIGNED-PAYLOAD.

    ``date`` as sent (``20130524T000000Z``); ``expires_in_s`` of a presigned URL, None elsewhere.
    """

    credential: Credential
    signed_headers: tuple[str, ...]
    date: str
    signature: str = field(repr=False)
    payload: str | None = None
    session_token: str | None = field(default=None, repr=False)
    expires_in_s: int | None = None

    @property
    def is_presigned(self) -> bool:
        """True where the query carried the signature."""
        return self.expires_in_s is not None


@dataclass(slots=True, frozen=True)
class SignedRequest:
    """A request as a signature sees it.

    ``path`` percent-encoded as sent; ``query`` its decoded names and values in any order; ``headers`` by lower-case name,
    repeated ones joined with commas.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]


def is_equal(one: str, other: str) -> bool:
    """Compare two signatures without telling by the time taken where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def parse_date(text: str) -> datetime:
    """``20130524T000000Z`` as a moment. Raises ``SignatureFormatError``."""
    if not _DATE.fullmatch(text):
        raise SignatureFormatError("Invalid signature format")
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise SignatureFormatError("Invalid signature format") from error


def parse_credential(text: str) -> Credential:
    """``key/20130524/us-east-1/s3/aws4_request``. Raises ``SignatureFormatError``."""
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request":
        raise SignatureFormatError("Invalid credentials")
    return Credential(*parts[:4])


def parse_authorization(value: str, headers: Mapping[str, str]) -> ClientSignature:
    """The signature of an Authorization header. Raises ``SignatureFormatError``."""
    members: dict[str, str] = {}
    for member in value.removeprefix(ALGORITHM).split(","):
        name, _, text = member.strip().partition("=")
        members[name] = text
    date = headers.get("x-amz-date")
    if date is None or not {"Credential", "SignedHeaders", "Signature"} <= members.keys():
        raise SignatureFormatError("Invalid signature format")
    return ClientSignature(
        credential=parse_credential(members["Credential"]),
        signed_headers=_header_names(members["SignedHeaders"]),
        date=date,
        signature=members["Signature"],
        payload=headers.get("x-amz-content-sha256"),
        session_token=headers.get("x-amz-security-token"),
    )


def parse_query(query: Sequence[tuple[str, str]], headers: Mapping[str, str]) -> ClientSignature:
    """The signature of a presigned URL. Raises ``SignatureFormatError``."""
    members: dict[str, str] = {}
    for name, value in query:
        if name in members and name.startswith("X-Amz-"):
            raise SignatureFormatError("Invalid signature format")
        members.setdefault(name, value)
    wanted = {"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Date"}
    if not wanted <= members.keys() or members["X-Amz-Algorithm"] != ALGORITHM:
        raise SignatureFormatError("Invalid signature format")
    expires = members.get("X-Amz-Expires", "")
    if not (expires.isascii() and expires.isdigit()) or len(expires) > 10:
        raise SignatureFormatError("Invalid expiration")
    signed_headers = _header_names(members["X-Amz-SignedHeaders"])
    stated = headers.get("x-amz-content-sha256") if "x-amz-content-sha256" in signed_headers else None
    return ClientSignature(
        credential=parse_credential(members["X-Amz-Credential"]),
        signed_headers=signed_headers,
        date=members["X-Amz-Date"],
        signature=members["X-Amz-Signature"],
        payload=members.get("X-Amz-Content-Sha256") or stated or UNSIGNED_PAYLOAD,
        session_token=members.get("X-Amz-Security-Token"),
        expires_in_s=int(expires),
    )


def split_query(raw: bytes) -> list[tuple[str, str]]:
    """The decoded members of a query string, in order; a member without ``=`` has an empty value.

    Raises ``SignatureFormatError`` for more members than any operation has.
    """
    if not raw:
        return []
    members = raw.decode("latin-1").split("&")
    if len(members) > MAX_QUERY_MEMBERS:
        raise SignatureFormatError("Invalid signature format")
    pairs = (member.partition("=") for member in members if member)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


@dataclass(slots=True, frozen=True)
class CanonicalForm:
    """What all readings of one request have in common, put into its canonical form once: that is the costly part.

    ``query`` is canonical already, ``lines`` are the signed headers' values by their sorted names.
    """

    method: str
    query: str
    lines: Mapping[str, str]

    @classmethod
    def of(cls, request: SignedRequest, signed_headers: Sequence[str]) -> CanonicalForm:
        """The form of a request."""
        signed = ((name, value) for name, value in request.query if name != "X-Amz-Signature")
        members = sorted((_encoded(name), _encoded(value)) for name, value in signed)
        lines = {name: _SPACES.sub(" ", request.headers.get(name, "")).strip() for name in sorted(signed_headers)}
        return cls(request.method, "&".join(f"{name}={value}" for name, value in members), lines)

    def text(self, path: str, payload: str, host: str | None = None) -> str:
        """The text whose hash is signed; ``host`` stands for the header's value.

        S3 takes the path as it is encoded once, and normalises nothing.
        """
        lines = self.lines if host is None or "host" not in self.lines else {**self.lines, "host": host}
        headers = "".join(f"{name}:{value}\n" for name, value in lines.items())
        return "\n".join((self.method, path, self.query, headers, ";".join(lines), payload))


def request_signature(secret: str, client: ClientSignature, canonical: str) -> str:
    """The signature of a canonical request, in hex."""
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    return _sign(secret, client.credential, f"{ALGORITHM}\n{client.date}\n{client.credential.scope}\n{digest}")


def policy_signature(secret: str, credential: Credential, policy: str) -> str:
    """The signature of a POST form's policy, which is signed as the base64 text that was sent; in hex."""
    return _sign(secret, credential, policy)


def chunk_signature(secret: str, client: ClientSignature, previous: str, chunk_sha256: str) -> str:
    """The signature of one chunk of an aws-chunked body, chained to the one before; in hex."""
    lines = ("AWS4-HMAC-SHA256-PAYLOAD", client.date, client.credential.scope, previous, EMPTY_SHA256, chunk_sha256)
    return _sign(secret, client.credential, "\n".join(lines))


def trailer_signature(secret: str, client: ClientSignature, previous: str, trailer_sha256: str) -> str:
    """The signature of the trailing headers of an aws-chunked body; in hex."""
    lines = ("AWS4-HMAC-SHA256-TRAILER", client.date, client.credential.scope, previous, trailer_sha256)
    return _sign(secret, client.credential, "\n".join(lines))


def _header_names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(";"))
    if len(names) > MAX_SIGNED_HEADERS:
        raise SignatureFormatError("Invalid signature format")
    return names


def _encoded(text: str) -> str:
    return quote(text, safe=_SAFE, errors="surrogateescape")


def _sign(secret: str, credential: Credential, text: str) -> str:
    key = _signing_key(secret, credential.date, credential.region, credential.service)
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


@lru_cache(maxsize=64)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The day's key; the same for all requests of a client on one day."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode("utf-8", "replace"), hashlib.sha256).digest()
    return key
