"""Who may come in: a user's bearer token, an administrator's. Source: contracts auth section 0; supabase/auth api/auth.go."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from isobase_platform.caller import Claims
from isobase_platform.errors import TokenError, TokenRefusal
from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, forbidden
from isobase_services.auth.models import AAL2, NIL_UUID, Session, User
from isobase_services.auth.session_ends import end_of
from isobase_services.auth.store import sessions
from isobase_services.auth.store.audit import Actor

__all__ = ["Admin", "SignedIn", "admin_of", "first_audience", "signed_in_user", "verified_claims"]

_REFUSALS = {
    TokenRefusal.MALFORMED: "token is malformed: could not decode the token",
    TokenRefusal.SIGNATURE: "token signature is invalid: signature is invalid",
    TokenRefusal.ALGORITHM: "token signature is invalid: signing method is invalid",
    TokenRefusal.UNKNOWN_KEY: "token is unverifiable: error while executing keyfunc: unrecognized JWT kid",
    TokenRefusal.EXPIRED: "token has invalid claims: token is expired",
    TokenRefusal.NOT_YET_VALID: "token has invalid claims: token is not valid yet",
    TokenRefusal.ISSUED_IN_FUTURE: "token has invalid claims: token used before issued",
    TokenRefusal.CLAIMS: "token is malformed: could not decode the token's claims",
}


@dataclass(slots=True, frozen=True)
class SignedIn:
    """The user of a bearer token and, where the token names one, their session."""

    user: User
    session: Session | None
    claims: Claims

    @property
    def is_aal2(self) -> bool:
        """True for a session that has passed a second factor, by a token from after that.

        Upstream looks at the session alone. A token that was stolen before the user stepped up would rise with it.
        """
        return self.session is not None and self.session.aal == AAL2 and self.claims.raw.get("aal") == AAL2


@dataclass(slots=True, frozen=True)
class Admin:
    """The holder of an administrator's token."""

    role: str

    @property
    def actor(self) -> Actor:
        """As whom the audit log knows them."""
        return Actor.admin(self.role)


def verified_claims(core: AuthCore, token: str | None) -> Claims:
    """The claims of a bearer token. Raises 401 no_authorization without one, 403 bad_jwt for one that does not verify."""
    if token is None:
        raise AuthError(401, ErrorCode.NO_AUTHORIZATION, "This endpoint requires a valid Bearer token")
    try:
        return core.platform.user_verifier.verify(token)
    except TokenError as error:
        reason = _REFUSALS[error.reason]
        raise forbidden(ErrorCode.BAD_JWT, f"invalid JWT: unable to parse or verify signature, {reason}") from error


async def signed_in_user(core: AuthCore, token: str | None) -> SignedIn:
    """The user behind a bearer token, read with their session in one round trip.

    Raises as ``verified_claims``; 403 bad_jwt, user_not_found, session_not_found, session_expired, user_banned; 400
    bad_jwt for a ``sub`` that is no UUID.
    """
    signed_in = await _load(core, verified_claims(core, token))
    if signed_in.user.is_banned(core.now()):
        raise forbidden(ErrorCode.USER_BANNED, "User is banned")
    if _is_over(core, signed_in):
        # Tokens end with their session; this one was made before the settings set an end.
        raise _session_over()
    return signed_in


async def admin_of(core: AuthCore, token: str | None) -> Admin:
    """The administrator behind a bearer token.

    Raises as ``verified_claims``; 403 not_admin for another role. A token that names a session is good only while that
    session is (403 session_not_found, session_expired).
    """
    claims = verified_claims(core, token)
    if _session_id_of(claims):
        signed_in = await _load(core, claims)
        if _is_over(core, signed_in):
            raise _session_over()
    role = claims.role
    if role is None or role not in core.settings.jwt_admin_roles:
        raise forbidden(ErrorCode.NOT_ADMIN, "User not allowed")
    return Admin(role)


def first_audience(claims: Claims) -> str:
    """The ``aud`` claim, or the first of a list of them; empty where there is none."""
    audience = claims.raw.get("aud")
    if isinstance(audience, list) and audience:
        audience = audience[0]
    return audience if isinstance(audience, str) else ""


def _is_over(core: AuthCore, signed_in: SignedIn) -> bool:
    session, has_factor = signed_in.session, signed_in.user.has_verified_factor
    return session is not None and (
        end_of(session, core.settings.sessions, core.now(), has_verified_factor=has_factor) is not None
    )


def _session_over() -> AuthError:
    return forbidden(ErrorCode.SESSION_EXPIRED, "Session is no longer valid")


async def _load(core: AuthCore, claims: Claims) -> SignedIn:
    subject = claims.sub
    if not subject:
        raise forbidden(ErrorCode.BAD_JWT, "invalid claim: missing sub claim")
    user_id = _uuid(subject)
    if user_id is None:
        raise bad_request(ErrorCode.BAD_JWT, "invalid claim: sub claim must be a UUID")
    session_id = None
    if wanted := _session_id_of(claims):
        session_id = _uuid(wanted)
        if session_id is None:
            raise forbidden(ErrorCode.BAD_JWT, "invalid claim: session_id claim must be a UUID")
    async with core.connection() as connection:
        user, session = await sessions.find_user_and_session(connection, user_id, session_id)
    if user is None:
        raise forbidden(ErrorCode.USER_NOT_FOUND, "User from sub claim in JWT does not exist")
    if session_id is not None and session is None:
        raise forbidden(ErrorCode.SESSION_NOT_FOUND, "Session from session_id claim in JWT does not exist")
    return SignedIn(user, session, claims)


def _session_id_of(claims: Claims) -> str | None:
    """The ``session_id`` claim; empty and nil mean none, as upstream reads them."""
    session_id = claims.session_id
    return session_id if session_id and session_id != str(NIL_UUID) else None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
