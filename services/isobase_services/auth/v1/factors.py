"""/factors: second factors of the signed-in user; and /admin/users/{user_id}/factors. Source: contracts auth section 1."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import ErrorCode, bad_request
from isobase_services.auth.flows.access import admin_of
from isobase_services.auth.flows.admin_users import get_user
from isobase_services.auth.flows.mfa import unenroll
from isobase_services.auth.flows.mfa.challenge import challenge_factor
from isobase_services.auth.flows.mfa.enroll import EnrollRequest, enroll_factor
from isobase_services.auth.flows.mfa.holder import PHONE, TOTP, factor_of, holder_of
from isobase_services.auth.flows.mfa.verify import VerifyRequest, verify_factor
from isobase_services.auth.limits import Limited
from isobase_services.auth.models import NIL_UUID, SessionTerms
from isobase_services.auth.request import Body, Request
from isobase_services.auth.v1.render import factor_body, json_response, session_body

__all__ = [
    "delete_factor",
    "delete_user_factor",
    "get_user_factors",
    "guard_factor",
    "guard_factors",
    "guard_user_factor",
    "post_challenge",
    "post_factors",
    "post_verify",
    "put_user_factor",
]


_UUID_LENGTHS_CHARS = (32, 34, 36, 38, 41, 43, 45)
"""Those of the forms that upstream's library reads."""


async def guard_factors(core: AuthCore, request: Request) -> None:
    """What stands before every route under /factors, known or not."""
    holder = await holder_of(core, request.bearer)
    if "factor_id" in request.path_params:
        factor_of(holder.user, request.path_params["factor_id"])


async def guard_factor(core: AuthCore, request: Request) -> None:
    """What stands before every route under a factor: it is the user's."""
    holder = await holder_of(core, request.bearer)
    factor_of(holder.user, request.path_params["factor_id"])


async def guard_user_factor(core: AuthCore, request: Request) -> None:
    """What stands before every route under a factor of a user: it is theirs."""
    user = await get_user(core, request.path_params["user_id"])
    factor_of(user, request.path_params["factor_id"])


async def post_factors(core: AuthCore, request: Request) -> Response:
    """Enrol a factor: its id and, for TOTP, the secret in three forms."""
    holder = await holder_of(core, request.bearer)
    body = await request.body()
    wanted = EnrollRequest(
        factor_type=body.text("factor_type"),
        friendly_name=body.text("friendly_name"),
        issuer=body.text("issuer"),
        phone=body.text("phone"),
    )
    enrolled = await enroll_factor(core, holder, wanted)
    factor = enrolled.factor
    answer: dict[str, Any] = {
        "id": str(factor.id),
        "type": factor.factor_type,
        "friendly_name": factor.friendly_name,
    }
    if factor.factor_type == TOTP:
        answer["totp"] = {"qr_code": enrolled.qr_code, "secret": enrolled.secret, "uri": enrolled.uri}
    if factor.factor_type == PHONE:
        # As it was sent, not as it is kept.
        answer["phone"] = wanted.phone
    return json_response(answer)


async def post_challenge(core: AuthCore, request: Request) -> Response:
    """Open a challenge; of a TOTP factor the body may be missing."""
    holder = await holder_of(core, request.bearer)
    factor = factor_of(holder.user, request.path_params["factor_id"])
    await core.limits.check(Limited.MFA_CHALLENGE, request.facts)
    body = await (request.optional_body() if factor.factor_type == TOTP else request.body())
    challenge = await challenge_factor(core, holder, factor, request.facts, body.text("channel"))
    answer: dict[str, Any] = {
        "id": str(challenge.id),
        "type": challenge.factor_type,
        "expires_at": int(challenge.expires_at.timestamp()),
    }
    if challenge.web_authn is not None:
        answer["webauthn"] = challenge.web_authn
    return json_response(answer)


async def post_verify(core: AuthCore, request: Request) -> Response:
    """Answer a challenge: the session at aal2."""
    holder = await holder_of(core, request.bearer)
    factor = factor_of(holder.user, request.path_params["factor_id"])
    await core.limits.check(Limited.MFA_VERIFY, request.facts)
    body = await request.body()
    answer = VerifyRequest(challenge_id=_challenge_id(body), code=body.text("code"), web_authn=body.object("webauthn"))
    terms = SessionTerms(core.settings.jwt_expiry_s)
    grant = await verify_factor(core, holder, factor, answer, request.facts, terms)
    return json_response(session_body(grant))


async def delete_factor(core: AuthCore, request: Request) -> Response:
    """Give a factor up: its id."""
    holder = await holder_of(core, request.bearer)
    factor = factor_of(holder.user, request.path_params["factor_id"])
    await unenroll.unenroll_factor(core, holder, factor)
    return json_response({"id": str(factor.id)})


async def get_user_factors(core: AuthCore, request: Request) -> Response:
    """A user's factors, as a bare array."""
    await admin_of(core, request.bearer)
    user = await get_user(core, request.path_params["user_id"])
    return json_response([factor_body(factor) for factor in user.factors])


async def put_user_factor(core: AuthCore, request: Request) -> Response:
    """Rename a user's factor or change its number: the factor."""
    admin = await admin_of(core, request.bearer)
    user = await get_user(core, request.path_params["user_id"])
    factor = factor_of(user, request.path_params["factor_id"])
    body = await request.body()
    updated = await unenroll.update_factor_of_user(
        core, admin, user, factor, friendly_name=body.text("friendly_name"), phone=body.text("phone")
    )
    return json_response(factor_body(updated))


async def delete_user_factor(core: AuthCore, request: Request) -> Response:
    """Delete a user's factor: the factor as it was."""
    admin = await admin_of(core, request.bearer)
    user = await get_user(core, request.path_params["user_id"])
    factor = factor_of(user, request.path_params["factor_id"])
    await unenroll.delete_factor_of_user(core, admin, user, factor)
    return json_response(factor_body(factor))


def _challenge_id(body: Body) -> UUID:
    text = body.text("challenge_id")
    if not text:
        return NIL_UUID
    try:
        return UUID(text)
    except ValueError:
        reason = "format" if len(text) in _UUID_LENGTHS_CHARS else f"length {len(text)}"
        quoted = json.dumps(text, ensure_ascii=False)
        raise bad_request(
            ErrorCode.BAD_JSON,
            f"Could not parse request body as JSON: uuid: incorrect UUID {reason} in string {quoted}",
        ) from None
