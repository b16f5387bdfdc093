"""What the tests of second factors share: enrolling, answering and looking at sessions, by HTTP alone."""

from __future__ import annotations

import time
from typing import Any

import httpx
import jwt

from isobase_services.auth.totp import STEP_S, totp_code
from tests.auth.conftest import AuthServer, bearer

__all__ = ["aal_of", "answer", "challenge", "claims_of", "code_now", "enroll", "enroll_verified", "forget_used_codes"]


def code_now(secret: str, *, steps: int = 0) -> str:
    """The code an authenticator app shows now, or some steps of 30 seconds away from now.

    Now and the step after it are good for another 30 seconds at least; the step before may be over in a moment.
    """
    return totp_code(secret, int(time.time()) // STEP_S + steps)


def claims_of(session: dict[str, Any]) -> dict[str, Any]:
    """The payload of the session's access token."""
    claims: dict[str, Any] = jwt.decode(session["access_token"], options={"verify_signature": False})
    return claims


def aal_of(session: dict[str, Any]) -> str:
    """The assurance level that the access token states."""
    level: str = claims_of(session)["aal"]
    return level


async def enroll(auth: AuthServer, session: dict[str, Any], **fields: object) -> dict[str, Any]:
    """Enrol a factor, a TOTP one unless ``fields`` say otherwise, and return the answer."""
    response = await auth.client.post("/factors", json={"factor_type": "totp", **fields}, headers=bearer(session))
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


async def challenge(auth: AuthServer, session: dict[str, Any], factor_id: str) -> str:
    """Open a challenge and return its id."""
    response = await auth.client.post(f"/factors/{factor_id}/challenge", json={}, headers=bearer(session))
    assert response.status_code == 200, response.text
    challenge_id: str = response.json()["id"]
    return challenge_id


async def answer(
    auth: AuthServer, session: dict[str, Any], factor_id: str, code: str, challenge_id: str | None = None
) -> httpx.Response:
    """Answer a challenge (a new one by default) with a code."""
    if challenge_id is None:
        challenge_id = await challenge(auth, session, factor_id)
    return await auth.client.post(
        f"/factors/{factor_id}/verify", json={"challenge_id": challenge_id, "code": code}, headers=bearer(session)
    )


async def enroll_verified(
    auth: AuthServer, session: dict[str, Any], **fields: object
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Enrol a TOTP factor and verify it with the code of now: (the factor, the session at aal2)."""
    factor = await enroll(auth, session, **fields)
    response = await answer(auth, session, factor["id"], code_now(factor["totp"]["secret"]))
    assert response.status_code == 200, response.text
    return factor, response.json()


async def forget_used_codes(auth: AuthServer) -> None:
    """Let codes be used again, for tests that need more of them than 90 seconds hold."""
    await auth.database.execute("update auth.mfa_challenges set otp_code = null where verified_at is not null")
