"""Codes and changes of address against models: no order of events uses a code twice, or compares a sixth guess with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from isobase_platform.config import Settings
from isobase_platform.config_auth.email import EmailSettings
from tests.auth.codes import query_of, verify, verify_hash
from tests.auth.conftest import PASSWORD, AuthServer, bearer, running_auth, with_auth
from tests.plugins.mailbox import MailboxServer, code_in, link_in

EXAMPLES = 15
STEPS = 15
MAX_TRIES = 5
LATE_S = 3601
Result = TypeVar("Result")
numbers = count()


@dataclass(slots=True, eq=False)
class Code:
    """A code as the model knows it."""

    text: str
    token_hash: str
    tries: int = 0
    is_out: bool = True
    is_late: bool = False

    @property
    def is_good(self) -> bool:
        """Whether it would still be taken, by its link at least."""
        return self.is_out and not self.is_late

    def guess(self) -> bool:
        """Count a guess; whether it is compared at all."""
        self.tries += self.is_out
        return self.is_good and self.tries <= MAX_TRIES


class Machine(RuleBasedStateMachine):
    """What both machines share. ``auth``, ``mailbox`` and ``runner`` are set by the tests."""

    auth: AuthServer
    mailbox: MailboxServer
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def new_user(self, email: str) -> dict[str, Any]:
        """A confirmed user's session."""
        body = {"email": email, "password": PASSWORD, "email_confirm": True}
        made = self.run(self.auth.client.post("/admin/users", json=body, headers=self.auth.service_headers))
        assert made.status_code == 200, made.text
        return self.session_of(email)

    def session_of(self, email: str) -> dict[str, Any]:
        answer = self.run(self.auth.sign_in(email))
        assert answer.status_code == 200, answer.text
        session: dict[str, Any] = answer.json()
        return session


def wrong(code: str, number: int = 0) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1 + number) % 10**6:06d}"


def is_refused(answer: httpx.Response) -> bool:
    """True for the one answer to whatever is not good."""
    if answer.status_code == 200:
        return False
    assert (answer.status_code, answer.json()["error_code"]) == (403, "otp_expired")
    return True


class Codes(Machine):
    """The codes that let one user in."""

    def __init__(self) -> None:
        super().__init__()
        self.email = f"of-codes{next(numbers)}@example.com"
        self.user_id = self.new_user(self.email)["user"]["id"]
        self.codes: list[Code] = []
        self.sessions = 1

    @property
    def current(self) -> Code | None:
        return self.codes[-1] if self.codes else None

    @rule(kind=st.sampled_from(["magiclink", "recovery"]))
    def send(self, kind: str) -> None:
        body = {"type": kind, "email": self.email}
        made = self.run(
            self.auth.client.post("/admin/generate_link", json=body, headers=self.auth.service_headers)
        ).json()
        for code in self.codes:
            code.is_out = False
        self.codes.append(Code(made["email_otp"], made["hashed_token"]))

    @precondition(lambda self: self.codes)
    @rule(pick=st.integers(0, 50), kind=st.sampled_from(["magiclink", "recovery", "email"]))
    def type_one(self, pick: int, kind: str) -> None:
        code = self.codes[pick % len(self.codes)]
        assert self.current is not None
        is_compared = self.current.guess()
        answer = self.run(verify(self.auth, kind, code.text, self.email))
        assert is_refused(answer) is not (is_compared and code.text == self.current.text)
        if answer.status_code == 200:
            self._spent()

    @precondition(lambda self: self.codes)
    @rule(kind=st.sampled_from(["magiclink", "email"]))
    def type_the_newest(self, kind: str) -> None:
        self.type_one(len(self.codes) - 1, kind)

    @precondition(lambda self: self.codes)
    @rule(parallel=st.integers(1, 8))
    def guess_at_once(self, parallel: int) -> None:
        assert self.current is not None
        text = self.current.text
        for _ in range(parallel):
            self.current.guess()

        async def all_at_once() -> list[httpx.Response]:
            guesses = (verify(self.auth, "email", wrong(text, number), self.email) for number in range(parallel))
            return await asyncio.gather(*guesses)

        assert all(is_refused(answer) for answer in self.run(all_at_once()))

    @precondition(lambda self: self.codes)
    @rule(parallel=st.integers(2, 5), by_link=st.booleans())
    def use_at_once(self, parallel: int, by_link: bool) -> None:
        current = self.current
        assert current is not None
        compared = [current.is_good if by_link else current.guess() for _ in range(parallel)]

        async def all_at_once() -> list[httpx.Response]:
            if by_link:
                return await asyncio.gather(
                    *(verify_hash(self.auth, "magiclink", current.token_hash) for _ in range(parallel))
                )
            return await asyncio.gather(
                *(verify(self.auth, "email", current.text, self.email) for _ in range(parallel))
            )

        refused = [is_refused(answer) for answer in self.run(all_at_once())]
        assert refused.count(False) == int(any(compared))
        if any(compared):
            self._spent()

    @precondition(lambda self: self.codes)
    @rule(pick=st.integers(0, 50))
    def follow_a_link(self, pick: int) -> None:
        code = self.codes[pick % len(self.codes)]
        answer = self.run(verify_hash(self.auth, "recovery", code.token_hash))
        assert is_refused(answer) is not code.is_good
        if code.is_good:
            self._spent()

    @rule()
    def set_the_password(self) -> None:
        answer = self.run(
            self.auth.client.put(
                f"/admin/users/{self.user_id}", json={"password": PASSWORD}, headers=self.auth.service_headers
            )
        )
        assert answer.status_code == 200
        self.sessions = 0
        for code in self.codes:
            code.is_out = False

    @rule()
    def let_time_pass(self) -> None:
        self.run(
            self.auth.database.execute(
                "update auth.users set recovery_sent_at = recovery_sent_at - make_interval(secs => $1)", LATE_S
            )
        )
        for code in self.codes:
            code.is_late = True

    @invariant()
    def each_success_opened_one_session(self) -> None:
        found = self.run(self.auth.count("sessions", "user_id = $1::uuid", self.user_id))
        assert found == self.sessions

    @invariant()
    def no_more_guesses_are_counted_than_allowed(self) -> None:
        tries = self.run(
            self.auth.database.fetchval(
                "select coalesce(max(tries), 0) from isobase.one_time_codes where user_id = $1::uuid", self.user_id
            )
        )
        assert tries <= MAX_TRIES

    def _spent(self) -> None:
        self.sessions += 1
        for code in self.codes:
            code.is_out = False


@dataclass(slots=True, eq=False)
class Change:
    """A change of address that was asked for: a code for each address, and which of them came back."""

    email: str
    codes: dict[str, Code]
    agreed: set[str] = field(default_factory=set)


class EmailChanges(Machine):
    """One user who changes the address, with the consent of both."""

    def __init__(self) -> None:
        super().__init__()
        self.email = f"of-codes{next(numbers)}@example.com"
        session = self.new_user(self.email)
        self.user_id = session["user"]["id"]
        self.session = session
        self.changes: list[Change] = []
        self.mails = {self.email: 0}

    @rule()
    def ask(self) -> None:
        email = f"of-codes{next(numbers)}@example.com"
        answer = self.run(self.auth.client.put("/user", json={"email": email}, headers=bearer(self.session)))
        assert (answer.status_code, answer.json()["new_email"]) == (200, email)
        self._forget_codes()
        self.mails[email] = 0
        codes = {}
        for which, address in (("new", email), ("current", self.email)):
            self.mails[address] += 1
            mail = self.run(self.mailbox.arrival(address, count=self.mails[address]))
            codes[which] = Code(code_in(mail), query_of(link_in(mail))["token"])
        self.changes.append(Change(email, codes))

    @precondition(lambda self: self.changes)
    @rule(pick=st.integers(0, 20), which=st.sampled_from(["new", "current"]), by_link=st.booleans())
    def confirm(self, pick: int, which: str, by_link: bool) -> None:
        change = self.changes[pick % len(self.changes)]
        code = change.codes[which]
        if by_link:
            is_taken = code.is_good
            answer = self.run(verify_hash(self.auth, "email_change", code.token_hash))
        else:
            address = change.email if which == "new" else self.email
            guessed = code if which == "new" else self.changes[-1].codes["current"]
            is_taken = guessed.guess() and guessed.text == code.text
            answer = self.run(verify(self.auth, "email_change", code.text, address))
        assert is_refused(answer) is not is_taken
        if is_taken:
            self._take(change, which, answer)

    @precondition(lambda self: self.changes)
    @rule(which=st.sampled_from(["new", "current"]), by_link=st.booleans())
    def confirm_the_newest(self, which: str, by_link: bool) -> None:
        self.confirm(len(self.changes) - 1, which, by_link)

    @precondition(lambda self: self.changes)
    @rule(which=st.sampled_from(["new", "current"]), times=st.integers(1, 4))
    def guess(self, which: str, times: int) -> None:
        change = self.changes[-1]
        address = change.email if which == "new" else self.email
        for number in range(times):
            change.codes[which].guess()
            code = wrong(change.codes[which].text, number)
            assert is_refused(self.run(verify(self.auth, "email_change", code, address)))

    @rule()
    def set_the_password(self) -> None:
        body = {"password": PASSWORD}
        path = f"/admin/users/{self.user_id}"
        assert self.run(self.auth.client.put(path, json=body, headers=self.auth.service_headers)).status_code == 200
        self._forget_codes()
        self.session = self.session_of(self.email)

    @invariant()
    def the_address_is_the_one_that_both_agreed_to(self) -> None:
        row = self.run(
            self.auth.database.fetchrow(
                """select u.email, (select i.email from auth.identities i where i.user_id = u.id) as of_identity
                     from auth.users u where u.id = $1::uuid""",
                self.user_id,
            )
        )
        assert row is not None
        assert (row["email"], row["of_identity"]) == (self.email, self.email)

    def _take(self, change: Change, which: str, answer: httpx.Response) -> None:
        change.codes[which].is_out = False
        change.agreed.add(which)
        if len(change.agreed) < 2:
            assert answer.json()["code"] == "200"
            return
        assert answer.json()["user"]["email"] == change.email
        self._forget_codes()
        # Codes to what was the current address are typed for an address that is nobody's now.
        self.email = change.email
        self.session = answer.json()

    def _forget_codes(self) -> None:
        for change in self.changes:
            for code in change.codes.values():
                code.is_out = False


def run_machine(machine: type[Machine], database: Settings, mailbox: MailboxServer) -> None:
    """Try many orders of events on one server."""
    changes = {"email_enable_confirmations": True, "email": EmailSettings(max_frequency_s=0)}
    with asyncio.Runner() as runner:
        running = running_auth(with_auth(database, **changes))
        machine.mailbox, machine.runner, machine.auth = mailbox, runner, runner.run(running.__aenter__())
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=EXAMPLES,
                    stateful_step_count=STEPS,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(running.__aexit__(None, None, None))


def test_no_order_of_events_uses_a_code_twice_or_compares_a_sixth_guess(
    auth_database: Settings, mailbox: MailboxServer
) -> None:
    run_machine(Codes, auth_database, mailbox)


def test_no_order_of_events_changes_an_address_without_both_consents(
    auth_database: Settings, mailbox: MailboxServer
) -> None:
    run_machine(EmailChanges, auth_database, mailbox)
