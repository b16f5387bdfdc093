"""Sessions and refresh tokens against a model: whatever users, thieves and administrators do, in whatever order.

The model knows of each token who is its parent, whether it was revoked and whether that is long ago. Source of its rules:
contracts auth 2.5 and 2.13.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import httpx
import jwt
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from isobase_platform.config import Settings
from tests.auth.conftest import AuthServer, bearer, running_auth, with_auth

EXAMPLES = 25
STEPS = 25
LONG_AGO_S = 3600
PASSWORDS = ("correct horse battery", "staple battery horse")
Result = TypeVar("Result")


@dataclass(slots=True)
class Account:
    """A user as the model knows them."""

    email: str
    id: str = ""
    password: str = PASSWORDS[0]
    is_banned: bool = False


@dataclass(slots=True)
class Token:
    """A refresh token as the model knows it; the later it was made, the higher its number."""

    text: str
    number: int
    parent: Token | None
    is_revoked: bool = False
    is_long_ago: bool = False


@dataclass(slots=True)
class Opened:
    """A session as the model knows it: all its tokens, and the newest access token."""

    account: Account
    id: str
    answer: dict[str, Any]
    tokens: list[Token] = field(default_factory=list)
    is_over: bool = False

    @property
    def live(self) -> Token | None:
        """The newest token that is not revoked."""
        return max((one for one in self.tokens if not one.is_revoked), key=lambda one: one.number, default=None)


numbers = count()


class Sessions(RuleBasedStateMachine):
    """Two users with any number of sessions. ``auth`` and ``runner`` are set by the test."""

    auth: AuthServer
    runner: asyncio.Runner

    opened = Bundle("opened")

    def __init__(self) -> None:
        super().__init__()
        self.accounts = [Account(f"of-sessions{next(numbers)}@example.com") for _ in range(2)]
        self.sessions: list[Opened] = []
        for account in self.accounts:
            answer = self.run(self.auth.sign_up(account.email))
            account.id = answer["user"]["id"]
            self._open(account, answer)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def _open(self, account: Account, answer: dict[str, Any]) -> Opened:
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        session = Opened(account, claims["session_id"], answer)
        session.tokens.append(Token(answer["refresh_token"], next(numbers), None))
        self.sessions.append(session)
        return session

    def _expect(self, answer: httpx.Response, status: int, code: str | None = None) -> None:
        assert answer.status_code == status, answer.text
        if code is not None:
            assert answer.json()["error_code"] == code

    @rule(target=opened, who=st.integers(0, 1), password=st.sampled_from(PASSWORDS))
    def sign_in(self, who: int, password: str) -> Any:
        account = self.accounts[who]
        answer = self.run(self.auth.sign_in(account.email, password))
        if account.is_banned:
            self._expect(answer, 400, "user_banned")
        elif password != account.password:
            self._expect(answer, 400, "invalid_credentials")
        else:
            self._expect(answer, 200)
            return self._open(account, answer.json())
        return multiple()

    @rule(session=opened, pick=st.integers(0, 100))
    def refresh(self, session: Opened, pick: int) -> None:
        token = session.tokens[pick % len(session.tokens)]
        answer = self.run(self.auth.refresh(token.text))
        live = session.live
        if session.is_over:
            self._expect(answer, 400, "refresh_token_not_found")
        elif session.account.is_banned:
            self._expect(answer, 400, "user_banned")
        elif token.is_revoked and live is not None and live.parent is token:
            self._expect(answer, 200)
            assert answer.json()["refresh_token"] == live.text
        elif not token.is_revoked or (live is not None and not token.is_long_ago):
            self._expect(answer, 200)
            token.is_revoked = True
            session.answer = answer.json()
            session.tokens.append(Token(session.answer["refresh_token"], next(numbers), token))
        else:
            self._expect(answer, 400, "refresh_token_already_used")
            for one in session.tokens:
                one.is_revoked = True

    @rule(session=opened, parallel=st.integers(2, 6))
    def refresh_the_live_token_at_once(self, session: Opened, parallel: int) -> None:
        live = session.live
        if session.is_over or session.account.is_banned or live is None:
            return

        async def all_at_once() -> list[httpx.Response]:
            return await asyncio.gather(*(self.auth.refresh(live.text) for _ in range(parallel)))

        answers = self.run(all_at_once())
        assert {answer.status_code for answer in answers} == {200}
        (text,) = {answer.json()["refresh_token"] for answer in answers}
        live.is_revoked = True
        session.answer = answers[0].json()
        session.tokens.append(Token(text, next(numbers), live))

    @rule()
    def let_the_reuse_interval_pass(self) -> None:
        for session in self.sessions:
            for token in session.tokens:
                token.is_long_ago = token.is_long_ago or token.is_revoked
        self.run(
            self.auth.database.execute(
                "update auth.refresh_tokens set updated_at = updated_at - make_interval(secs => $1) where revoked",
                LONG_AGO_S,
            )
        )

    @rule(session=opened, scope=st.sampled_from(["global", "local", "others", ""]))
    def sign_out(self, session: Opened, scope: str) -> None:
        answer = self.run(
            self.auth.client.post("/logout", params={"scope": scope} if scope else {}, headers=bearer(session.answer))
        )
        if self._refuses(answer, session):
            return
        self._expect(answer, 204)
        for other in self._sessions_of(session.account):
            is_meant = {"local": other is session, "others": other is not session}.get(scope, True)
            other.is_over = other.is_over or is_meant

    @rule(session=opened, password=st.sampled_from(PASSWORDS))
    def change_the_password(self, session: Opened, password: str) -> None:
        answer = self.run(self.auth.client.put("/user", json={"password": password}, headers=bearer(session.answer)))
        if self._refuses(answer, session):
            return
        if password == session.account.password:
            self._expect(answer, 422, "same_password")
            return
        self._expect(answer, 200)
        session.account.password = password
        for other in self._sessions_of(session.account):
            other.is_over = other.is_over or other is not session

    @rule(who=st.integers(0, 1), password=st.sampled_from(PASSWORDS))
    def an_administrator_sets_the_password(self, who: int, password: str) -> None:
        account = self.accounts[who]
        answer = self.run(self._administer(account, {"password": password}))
        self._expect(answer, 200)
        account.password = password
        for session in self._sessions_of(account):
            session.is_over = True

    @rule(who=st.integers(0, 1))
    def ban(self, who: int) -> None:
        self._expect(self.run(self._administer(self.accounts[who], {"ban_duration": "24h"})), 200)
        self.accounts[who].is_banned = True

    @rule(who=st.integers(0, 1))
    def unban(self, who: int) -> None:
        self._expect(self.run(self._administer(self.accounts[who], {"ban_duration": "none"})), 200)
        self.accounts[who].is_banned = False

    @rule(session=opened)
    def read_the_account(self, session: Opened) -> None:
        answer = self.run(self.auth.client.get("/user", headers=bearer(session.answer)))
        if not self._refuses(answer, session):
            self._expect(answer, 200)
            assert answer.json()["id"] == session.account.id

    @rule(session=consumes(opened))
    def forget(self, session: Opened) -> None:
        """A client that is never seen again: its session stays."""
        assert session in self.sessions

    @invariant()
    def what_is_live_is_what_should_be(self) -> None:
        ids = [session.id for session in self.sessions]
        rows = self.run(
            self.auth.database.fetch(
                """select s.id::text, array_agg(r.token order by r.id) filter (where not r.revoked) as live
                     from auth.sessions s left join auth.refresh_tokens r on r.session_id = s.id
                    where s.id = any($1::uuid[]) group by s.id""",
                ids,
            )
        )
        found = {row["id"]: row["live"] or [] for row in rows}
        wanted = {
            session.id: [token.text for token in session.tokens if not token.is_revoked]
            for session in self.sessions
            if not session.is_over
        }
        assert found == wanted

    def _refuses(self, answer: httpx.Response, session: Opened) -> bool:
        """Whether an access token is refused, and for the right reason."""
        if session.is_over:
            self._expect(answer, 403, "session_not_found")
        elif session.account.is_banned:
            self._expect(answer, 403, "user_banned")
        return session.is_over or session.account.is_banned

    def _sessions_of(self, account: Account) -> list[Opened]:
        return [session for session in self.sessions if session.account is account]

    async def _administer(self, account: Account, change: dict[str, str]) -> httpx.Response:
        return await self.auth.client.put(f"/admin/users/{account.id}", json=change, headers=self.auth.service_headers)


def test_no_order_of_events_leaves_a_session_alive_that_should_be_over_or_ends_another(auth_database: Settings) -> None:
    with asyncio.Runner() as runner:
        running = running_auth(with_auth(auth_database, refresh_token_reuse_interval_s=LONG_AGO_S // 2))
        Sessions.runner, Sessions.auth = runner, runner.run(running.__aenter__())
        try:
            run_state_machine_as_test(
                Sessions,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(running.__aexit__(None, None, None))
