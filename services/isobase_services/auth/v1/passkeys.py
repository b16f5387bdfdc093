"""/passkeys: signing in with passkeys and managing them; and /admin/users/{user_id}/passkeys. Contracts auth section 1."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request
from isobase_services.auth.flows.access import SignedIn, admin_of, signed_in_user
from isobase_services.auth.flows.admin_users import get_user
from isobase_services.auth.flows.mfa.holder import check_not_anonymous
from isobase_services.auth.flows.passkeys import authentication, manage, registration
from isobase_services.auth.flows.passkeys.challenges import PasskeyCeremony
from isobase_services.auth.flows.passkeys.guard import challenge_id_of, check_enabled
from isobase_services.auth.models import SessionTerms
from isobase_services.auth.request import Body, Request
from isobase_services.auth.store.webauthn import Passkey
from isobase_services.auth.v1.render import grant_headers, json_response, rfc3339, session_body

__all__ = [
    "delete_passkey",
    "delete_user_passkey",
    "get_passkeys",
    "get_user_passkeys",
    "guard_passkeys",
    "patch_passkey",
    "post_authentication_options",
    "post_authentication_verify",
    "post_registration_options",
    "post_registration_verify",
]


async def guard_passkeys(core: AuthCore, request: Request) -> None:
    """What stands before every route under /passkeys, known or not: signing in with one is open, the rest is a user's."""
    check_enabled(core)
    _, _, below = request.scope["path"].partition("/passkeys/")
    part = below.partition("/")[0]
    if part and part != "authentication":
        signed_in = await signed_in_user(core, request.bearer)
        if part == "registration":
            check_not_anonymous(signed_in)


async def post_authentication_options(core: AuthCore, request: Request) -> Response:
    """Begin to sign in."""
    check_enabled(core)
    return _ceremony(await authentication.authentication_options(core))


async def post_authentication_verify(core: AuthCore, request: Request) -> Response:
    """Sign in with the browser's answer: the session."""
    check_enabled(core)
    body = await request.body()
    challenge_id, answer = _answer_of(body)
    terms = SessionTerms(core.settings.jwt_expiry_s)
    grant = await authentication.sign_in_with_passkey(core, challenge_id, answer, request.facts, terms)
    return json_response(session_body(grant), headers=grant_headers(grant))


async def post_registration_options(core: AuthCore, request: Request) -> Response:
    """Begin to add a passkey."""
    signed_in = await _registrant(core, request)
    return _ceremony(await registration.registration_options(core, signed_in))


async def post_registration_verify(core: AuthCore, request: Request) -> Response:
    """Add the passkey that the browser made."""
    signed_in = await _registrant(core, request)
    body = await request.body()
    challenge_id, answer = _answer_of(body)
    passkey = await registration.register_passkey(core, signed_in, challenge_id, answer)
    return json_response(_passkey_body(passkey))


async def get_passkeys(core: AuthCore, request: Request) -> Response:
    """One's own passkeys, as a bare array."""
    check_enabled(core)
    signed_in = await signed_in_user(core, request.bearer)
    return json_response([_passkey_body(passkey) for passkey in await manage.list_passkeys(core, signed_in.user)])


async def patch_passkey(core: AuthCore, request: Request) -> Response:
    """Name a passkey."""
    check_enabled(core)
    signed_in = await signed_in_user(core, request.bearer)
    body = await request.body()
    name = body.text("friendly_name")
    passkey = await manage.rename_passkey(core, signed_in, request.path_params["passkey_id"], name)
    return json_response(_passkey_body(passkey))


async def delete_passkey(core: AuthCore, request: Request) -> Response:
    """Delete a passkey: 204."""
    check_enabled(core)
    signed_in = await signed_in_user(core, request.bearer)
    await manage.delete_own_passkey(core, signed_in, request.path_params["passkey_id"])
    return Response(status_code=204)


async def get_user_passkeys(core: AuthCore, request: Request) -> Response:
    """A user's passkeys, as a bare array."""
    await admin_of(core, request.bearer)
    user = await get_user(core, request.path_params["user_id"])
    return json_response([_passkey_body(passkey) for passkey in await manage.list_passkeys(core, user)])


async def delete_user_passkey(core: AuthCore, request: Request) -> Response:
    """Delete a user's passkey: 204."""
    admin = await admin_of(core, request.bearer)
    user = await get_user(core, request.path_params["user_id"])
    await manage.delete_passkey_of_user(core, admin, user, request.path_params["passkey_id"])
    return Response(status_code=204)


async def _registrant(core: AuthCore, request: Request) -> SignedIn:
    check_enabled(core)
    signed_in = await signed_in_user(core, request.bearer)
    check_not_anonymous(signed_in)
    return signed_in


def _answer_of(body: Body) -> tuple[UUID, object]:
    """(The challenge, the browser's answer, of which nothing is known yet). Raises 400 validation_failed."""
    text = body.text("challenge_id")
    if not text:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "challenge_id is required")
    if "credential" not in body.fields:
        raise bad_request(ErrorCode.VALIDATION_FAILED, "credential is required")
    return challenge_id_of(text), body.fields["credential"]


def _ceremony(ceremony: PasskeyCeremony) -> Response:
    return json_response(
        {
            "challenge_id": str(ceremony.challenge_id),
            "options": ceremony.options,
            "expires_at": int(ceremony.expires_at.timestamp()),
        }
    )


def _passkey_body(passkey: Passkey) -> dict[str, Any]:
    body: dict[str, Any] = {"id": str(passkey.id)}
    if passkey.friendly_name:
        body["friendly_name"] = passkey.friendly_name
    body["created_at"] = rfc3339(passkey.created_at)
    if passkey.last_used_at is not None:
        body["last_used_at"] = rfc3339(passkey.last_used_at)
    return body
