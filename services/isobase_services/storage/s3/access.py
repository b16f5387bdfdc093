"""Who sends an S3 request: the signature is checked, and the caller that it stands for is named.

Two kinds of credentials. The project's own access key acts as ``service_role``. With a session token, the token is a user's
JWT and the caller is that user under his policies; the access key is then the project's reference and the secret its anon
or publishable key, which prove nothing, so a request signed with them is worth what the JWT is worth.
Source: contracts/storage.md 1.5; upstream ``src/http/plugins/signature-v4.ts``.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urlsplit

from starlette.types import Scope

from isobase_platform.caller import Caller, Claims
from isobase_platform.errors import TokenError
from isobase_platform.http.request import request_facts
from isobase_platform.runtime import Platform
from isobase_services.storage.core.database import Actor, role_of
from isobase_services.storage.errors import refuse
from isobase_services.storage.s3 import sigv4
from isobase_services.storage.s3.errors import s3_refuse
from isobase_services.storage.s3.sigv4 import (
    CanonicalForm,
    ClientSignature,
    Credential,
    SignatureFormatError,
    SignedRequest,
)
from isobase_services.storage.signer import token_refusal_text

__all__ = ["Identity", "S3Access", "joined_headers"]

MAX_CLOCK_SKEW_S = 15 * 60
"""How far a client's clock may be off; AWS's own value."""
SERVICE = "s3"
GATEWAY_PREFIX = "/storage/v1"
"""What a gateway takes off the path that the client signed, where this service runs alone."""
_UNSIGNED_AMZ_HEADERS = frozenset(
    {"x-amz-cf-id", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "x-amz-user-agent"}
)
"""``x-amz-`` headers that need not be signed: a proxy adds the first; the others are signed otherwise or mean nothing."""


@dataclass(slots=True, frozen=True)
class Identity:
    """A verified request: who asks, and what is needed to verify the chunks of its body."""

    actor: Actor
    signature: ClientSignature
    secret: str = field(repr=False)

    @property
    def seed(self) -> str:
        """See ``ChunkSigner``."""
        return self.signature.signature

    def chunk(self, previous: str, sha256: str) -> str:
        """See ``ChunkSigner``."""
        return sigv4.chunk_signature(self.secret, self.signature, previous, sha256)

    def trailer(self, previous: str, sha256: str) -> str:
        """See ``ChunkSigner``."""
        return sigv4.trailer_signature(self.secret, self.signature, previous, sha256)

    def is_equal(self, one: str, other: str) -> bool:
        """See ``ChunkSigner``."""
        return sigv4.is_equal(one, other)


def joined_headers(scope: Scope) -> dict[str, str]:
    """The request's headers by lower-case name, repeated ones joined with commas, as signatures take them."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = str(raw_name, "latin-1"), _header_text(raw_value)
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _header_text(raw: bytes) -> str:
    """Clients sign the bytes that they send; almost all send UTF-8."""
    return raw.decode("utf-8", "surrogateescape")


class S3Access:
    """Checks signatures for one project."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        settings = platform.settings
        self._access_key = settings.storage.s3_access_key_id
        self._project_ref = settings.storage.s3_protocol.project_ref
        public = urlsplit(settings.base_url)
        self._public_host = public.netloc
        base = public.path.rstrip("/")
        self._prefixes = tuple(dict.fromkeys(("", GATEWAY_PREFIX, base, base + GATEWAY_PREFIX)))

    async def authenticate(
        self, scope: Scope, headers: dict[str, str], query: Sequence[tuple[str, str]], operation: str
    ) -> Identity:
        """The caller of a request that is signed in its header or its query.

        Raises AccessDenied without a signature, InvalidSignature for one that cannot be read, ExpiredToken,
        RequestTimeTooSkewed, and SignatureDoesNotMatch.
        """
        try:
            client = self._client_signature(headers, query)
        except SignatureFormatError as error:
            raise s3_refuse.invalid_signature(str(error)) from error
        self._check_scope(client.credential)
        self._check_signed(client, headers)
        for secret in self._secrets(client.credential, has_session=client.session_token is not None):
            for canonical, payload in _readings(self, scope, headers, query, client):
                if sigv4.is_equal(client.signature, sigv4.request_signature(secret, client, canonical)):
                    actor = await self._actor(scope, client.session_token, operation)
                    # A client that left the payload out has signed one all the same: the body is held against it.
                    return Identity(actor, replace(client, payload=payload), secret)
        raise s3_refuse.signature_mismatch(has_session=client.session_token is not None)

    async def authenticate_policy(
        self, scope: Scope, credential: str, signature: str, policy: str, session_token: str | None, operation: str
    ) -> Actor:
        """The caller of a POST form with a signed policy. Raises as ``authenticate``; the policy itself is not read."""
        try:
            parsed = sigv4.parse_credential(credential)
        except SignatureFormatError as error:
            raise s3_refuse.invalid_signature(str(error)) from error
        self._check_scope(parsed)
        for secret in self._secrets(parsed, has_session=session_token is not None):
            if sigv4.is_equal(signature, sigv4.policy_signature(secret, parsed, policy)):
                return await self._actor(scope, session_token, operation)
        raise s3_refuse.signature_mismatch(has_session=session_token is not None)

    def _client_signature(self, headers: dict[str, str], query: Sequence[tuple[str, str]]) -> ClientSignature:
        """The header's signature, or else the query's: an Authorization of another scheme does not hide a presigned URL."""
        authorization = headers.get("authorization", "")
        if authorization.startswith(f"{sigv4.ALGORITHM} "):
            client = sigv4.parse_authorization(authorization, headers)
        elif any(name == "X-Amz-Credential" for name, _ in query):
            client = sigv4.parse_query(query, headers)
        else:
            raise refuse.access_denied("Missing signature")
        age_s = time.time() - sigv4.parse_date(client.date).timestamp()
        if age_s < -MAX_CLOCK_SKEW_S or (not client.is_presigned and age_s > MAX_CLOCK_SKEW_S):
            raise s3_refuse.clock_skew()
        if client.expires_in_s is not None and age_s > client.expires_in_s:
            raise s3_refuse.expired()
        if client.date[:8] != client.credential.date:
            raise SignatureFormatError("Invalid credentials")
        return client

    @staticmethod
    def _check_scope(credential: Credential) -> None:
        if credential.service != SERVICE:
            raise refuse.access_denied("Invalid Service")

    @staticmethod
    def _check_signed(client: ClientSignature, headers: dict[str, str]) -> None:
        """What steers an operation must be part of what was signed, or a presigned URL could be bent to another purpose."""
        if "host" not in client.signed_headers:
            raise s3_refuse.invalid_signature()
        for name in headers:
            if name.startswith("x-amz-") and name not in client.signed_headers and name not in _UNSIGNED_AMZ_HEADERS:
                raise refuse.access_denied("There were headers present in the request which were not signed")

    def _secrets(self, credential: Credential, *, has_session: bool) -> Iterator[str]:
        """The secrets that the access key may stand for. Raises AccessDenied for an unknown access key."""
        if has_session:
            if self._project_ref is not None and credential.access_key != self._project_ref:
                raise refuse.access_denied("Invalid Access Key")
            keys = self._platform.api_keys
            return iter((keys.anon, keys.publishable))
        if not sigv4.is_equal(credential.access_key, self._access_key):
            raise refuse.access_denied("Invalid Access Key")
        return iter((self._platform.settings.storage.s3_secret_access_key.get_secret_value(),))

    async def _actor(self, scope: Scope, session_token: str | None, operation: str) -> Actor:
        facts = request_facts(scope)
        if session_token is None:
            service = Caller.service()
            return Actor(Caller(service.role, service.claims, facts), operation)
        looking = self._platform.key_keeper.unknown_key(f"Bearer {session_token}".encode())
        if looking is not None:
            await looking
        await self._platform.verifier.prepare(session_token)
        try:
            claims: Claims = self._platform.verifier.verify(session_token)
        except TokenError as error:
            raise refuse.access_denied(token_refusal_text(error)) from error
        return Actor(Caller(role_of(claims), claims, facts), operation, session_token)

    def hosts(self, headers: dict[str, str]) -> tuple[str, ...]:
        """The hosts that the client may have signed: the one it sent, what a proxy says it was, and the public one."""
        sent = headers.get("host", "")
        forwarded = headers.get("x-forwarded-host", "").partition(",")[0].strip()
        found = [sent, forwarded, self._public_host]
        port = headers.get("x-forwarded-port", "").partition(",")[0].strip()
        if forwarded and port:
            found.append(f"{forwarded.partition(':')[0]}:{port}")
        return tuple(dict.fromkeys(host for host in found if host))

    def paths(self, scope: Scope) -> tuple[str, ...]:
        """The paths that the client may have signed: as sent or as S3 encodes it, and with what a gateway has taken off."""
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        sent = str(raw.partition(b"?")[0], "latin-1")
        encoded = quote(unquote(sent, errors="surrogateescape"), safe="/-_.~", errors="surrogateescape")
        return tuple(dict.fromkeys(prefix + path for prefix in self._prefixes for path in (sent, encoded)))


def _readings(
    access: S3Access, scope: Scope, headers: dict[str, str], query: Sequence[tuple[str, str]], client: ClientSignature
) -> Iterator[tuple[str, str]]:
    """What the client may have signed and the payload in it, likeliest first.

    Proxies change host and path, and the payload may be left out. There are dozens of readings of one request, and who
    sends it is not known yet: none of them may cost much.
    """
    payloads = (client.payload,) if client.payload else (sigv4.UNSIGNED_PAYLOAD, sigv4.EMPTY_SHA256)
    # Cloudflare rewrites this header and keeps the original beside it.
    original = headers.get("x-original-accept-encoding")
    seen = headers if original is None else {**headers, "accept-encoding": original}
    form = CanonicalForm.of(SignedRequest(scope["method"], "", query, seen), client.signed_headers)
    for path, host, payload in itertools.product(access.paths(scope), access.hosts(headers), payloads):
        yield form.text(path, payload, host), payload
