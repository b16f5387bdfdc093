"""Sessions, factors and assurance levels in any order: the service and a model of it must agree after every step."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.auth.conftest import AuthServer, StartAuth, bearer
from tests.auth.mfa import aal_of, code_now

T = TypeVar("T")
_numbers = itertools.count()
_INDEX = st.integers(min_value=0, max_value=50)


@dataclass(slots=True)
class ModelFactor:
    """A factor as it should be."""

    id: str
    secret: str = field(repr=False)
    is_verified: bool = False


@dataclass(slots=True)
class ModelSession:
    """A session as it should be; ``raised_by``: the factor that made it aal2."""

    body: dict[str, Any] = field(repr=False)
    raised_by: str | None = None
    is_over: bool = False


class Assurance(RuleBasedStateMachine):
    """One user with any number of sessions and factors."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    auth: ClassVar[AuthServer]

    def __init__(self) -> None:
        super().__init__()
        self._email = f"user{next(_numbers)}@example.com"
        self._factors: list[ModelFactor] = []
        self._sessions: list[ModelSession] = [ModelSession(self._run(self.auth.sign_up(self._email)))]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def _call(self, session: ModelSession, method: str, path: str, **body: object) -> tuple[int, dict[str, Any]]:
        response = self._run(self.auth.client.request(method, path, json=body or None, headers=bearer(session.body)))
        return response.status_code, response.json()

    def _live(self, index: int) -> ModelSession:
        live = [session for session in self._sessions if not session.is_over]
        return live[index % len(live)]

    def _factor(self, index: int) -> ModelFactor:
        return self._factors[index % len(self._factors)]

    def _forget_tries_and_used_codes(self) -> None:
        self._run(self.auth.database.execute("delete from auth.mfa_challenges"))

    @property
    def _has_verified(self) -> bool:
        return any(factor.is_verified for factor in self._factors)

    def _has_live(self) -> bool:
        return any(not session.is_over for session in self._sessions)

    def _drop(self, factor: ModelFactor) -> None:
        self._factors.remove(factor)
        for session in self._sessions:
            if session.raised_by == factor.id:
                session.raised_by = None

    @rule()
    def sign_in(self) -> None:
        self._sessions.append(ModelSession(self._run(self.auth.sign_in(self._email)).json()))

    @precondition(lambda self: self._has_live() and len(self._factors) < 6)
    @rule(index=_INDEX)
    def enroll(self, index: int) -> None:
        session = self._live(index)
        name = f"factor {next(_numbers)}"
        status, body = self._call(session, "POST", "/factors", factor_type="totp", friendly_name=name)
        if self._has_verified and session.raised_by is None:
            assert (status, body["error_code"]) == (403, "insufficient_aal")
        else:
            assert status == 200
            self._factors.append(ModelFactor(body["id"], body["totp"]["secret"]))

    @precondition(lambda self: self._has_live() and self._factors)
    @rule(index=_INDEX, which=_INDEX, is_right=st.booleans())
    def verify(self, index: int, which: int, is_right: bool) -> None:
        session, factor = self._live(index), self._factor(which)
        self._forget_tries_and_used_codes()
        status, body = self._call(session, "POST", f"/factors/{factor.id}/challenge")
        if not factor.is_verified and self._has_verified and session.raised_by is None:
            assert (status, body["error_code"]) == (403, "insufficient_aal")
            return
        code = code_now(factor.secret) if is_right else "wrong"
        status, body = self._call(session, "POST", f"/factors/{factor.id}/verify", challenge_id=body["id"], code=code)
        if not is_right:
            assert (status, body["error_code"]) == (422, "mfa_verification_failed")
            return
        assert status == 200
        factor.is_verified = True
        session.body, session.raised_by = body, factor.id
        self._factors = [known for known in self._factors if known.is_verified]
        for other in self._sessions:
            other.is_over = other.is_over or other.raised_by is None

    @precondition(lambda self: self._has_live() and self._factors)
    @rule(index=_INDEX, which=_INDEX)
    def unenroll(self, index: int, which: int) -> None:
        session, factor = self._live(index), self._factor(which)
        status, body = self._call(session, "DELETE", f"/factors/{factor.id}")
        # The token of a session that another's doing took back to aal1 still says aal2; the session decides.
        if factor.is_verified and session.raised_by is None:
            assert (status, body["error_code"]) == (422, "insufficient_aal")
        else:
            assert status == 200
            self._drop(factor)

    @precondition(lambda self: self._factors)
    @rule(which=_INDEX)
    def administrator_deletes(self, which: int) -> None:
        factor = self._factor(which)
        user_id = self._sessions[0].body["user"]["id"]
        response = self._run(
            self.auth.client.delete(f"/admin/users/{user_id}/factors/{factor.id}", headers=self.auth.service_headers)
        )
        assert response.status_code == 200
        self._drop(factor)

    @precondition(lambda self: self._has_live())
    @rule(index=_INDEX)
    def refresh(self, index: int) -> None:
        session = self._live(index)
        response = self._run(self.auth.refresh(session.body["refresh_token"]))
        assert response.status_code == 200, response.text
        session.body = response.json()
        assert aal_of(session.body) == ("aal2" if session.raised_by else "aal1")

    @precondition(lambda self: self._has_live())
    @rule(index=_INDEX)
    def sign_out(self, index: int) -> None:
        session = self._live(index)
        response = self._run(self.auth.client.post("/logout", params={"scope": "local"}, headers=bearer(session.body)))
        assert response.status_code == 204
        session.is_over = True

    @invariant()
    def service_and_model_agree(self) -> None:
        expected = {factor.id: "verified" if factor.is_verified else "unverified" for factor in self._factors}
        for session in self._sessions:
            status, body = self._call(session, "GET", "/user")
            if session.is_over:
                assert (status, body["error_code"]) == (403, "session_not_found")
            else:
                assert {factor["id"]: factor["status"] for factor in body.get("factors", [])} == expected
        user_id = self._sessions[0].body["user"]["id"]
        rows = self._run(
            self.auth.database.fetch(
                "select aal::text, factor_id::text from auth.sessions where user_id = $1::text::uuid", user_id
            )
        )
        levels = sorted((row["aal"], row["factor_id"] or "") for row in rows)
        assert levels == sorted(
            ("aal2" if session.raised_by else "aal1", session.raised_by or "")
            for session in self._sessions
            if not session.is_over
        )


def test_service_and_model_of_assurance_levels_agree_after_every_step(start_auth: StartAuth) -> None:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        context = start_auth()
        auth = loop.run_until_complete(context.__aenter__())
        try:

            class Here(Assurance):
                pass

            Here.loop, Here.auth = loop, auth
            run_state_machine_as_test(
                Here,
                settings=settings(
                    max_examples=12,
                    stateful_step_count=15,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            loop.run_until_complete(context.__aexit__(None, None, None))
