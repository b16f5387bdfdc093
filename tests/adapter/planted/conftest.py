"""An app that is compared for everybody, under a small load, and an operator's commands."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from isobase_adapter import create_migration_client
from isobase_adapter.stages import Stage
from isobase_deploy.cli import main
from tests.adapter.client.moving import WAIT_S, set_stage, settings_of, wait_for_stage
from tests.adapter.pair import PASSWORD, Pair

EVERYTHING = "*"


@dataclass
class Load:
    """One user's writes and reads, through a migration client, until it is ended."""

    client: Any
    calls: int = 0
    only_reads: bool = False
    failed: list[str] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(WAIT_S * 2)

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            try:
                self._once(self.calls)
            except Exception as error:
                self.failed.append(f"{type(error).__name__}: {error}")
            self.calls += 1

    def _once(self, number: int) -> None:
        notes = self.client.table("notes")
        if self.only_reads:
            notes.select("*").order("id", desc=True).limit(5).execute()
            return
        (row,) = notes.insert({"title": f"note {number}", "body": "first"}).execute().data
        notes.update({"body": "second"}).eq("id", row["id"]).execute()
        notes.select("*").order("id", desc=True).limit(5).execute()
        if number % 3 == 2:
            notes.delete().eq("id", row["id"]).execute()
        if number % 10 == 5:
            self.client.storage.from_("avatars").upload(f"{self.user_id}/{number}.txt", f"{number}".encode())

    @property
    def user_id(self) -> str:
        return str(self.client.auth.get_session().user.id)


@dataclass(slots=True, frozen=True)
class Moving:
    """The pair in the middle of a move."""

    pair: Pair
    client: Any
    load: Load
    users: tuple[str, ...]
    """Ids of users with a password, an identity and a factor each."""

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run ``isobase migrate ...``; gives the exit code and the answer."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = main(["migrate", *arguments, "-o", "json"])
        return code, json.loads(out.getvalue())

    def fails(self, *arguments: str) -> bool:
        """Whether a command refuses."""
        return main(["migrate", *arguments]) != 0

    def unmet(self, pattern: str, *more: str) -> dict[str, str]:
        """The gates of a cutover that are not met, with what was found."""
        code, answer = self.run("cutover", pattern, "--dry-run", "--calls", "0", *more)
        gates = [gate for change in answer["changes"] for gate in change["gates"]]
        unmet = {gate["name"]: gate["value"] for gate in gates if not gate["is_met"]}
        assert code == (9 if unmet else 0)
        assert all(name in answer["changes"][0]["reason"] for name in unmet)
        return unmet

    def status(self) -> dict[str, dict[str, Any]]:
        """What ``status`` says is not equal, by part."""
        _, answer = self.run("status")
        return {part["part"]: part for part in answer["equality"]["parts"] if not part["is_equal"]}

    def until_nothing(self, amiss: Callable[[], object]) -> None:
        """Wait until ``amiss`` gives nothing."""
        deadline = time.monotonic() + WAIT_S
        while found := amiss():
            assert time.monotonic() < deadline, found
            time.sleep(0.2)


@pytest.fixture(scope="module")
def moving(pair: Pair) -> Iterator[Moving]:
    """Both sides equal, everything in ``shadow_read`` for everybody, an app at work."""
    pair.clear()
    set_stage(pair, EVERYTHING, Stage.SHADOW_READ)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in pair.environment().items():
            patch.setenv(name, value)
        client = create_migration_client(
            pair.supabase.url, pair.supabase.anon_key, migration=settings_of(pair, name="the app")
        )
        load = Load(client)
        try:
            wait_for_stage(client, "auth", Stage.SHADOW_READ)
            users = tuple(_user(client, pair, number) for number in range(3))
            client.auth.sign_up({"email": "worker@example.com", "password": PASSWORD})
            for number in range(4):
                client.table("orders").insert({"net": number, "detail": {"name": "Zo\u00eb"}}).execute()
                client.storage.from_("avatars").upload(f"{load.user_id}/planted-{number}", f"planted {number}".encode())
            rows = [
                {"id": number, "price": 1.5, "at": "2026-01-02T03:04:05Z", "nothing": "Zo\u00eb"}
                for number in range(1, 6)
            ]
            client.table("kinds").insert(rows).execute()
            made = Moving(pair, client, load, users)
            assert made.run("verify", "--repair")[0] == 0
            load.start()
            yield made
        finally:
            load.end()
            client.migration.close()
            pair.clear()


def _user(client: Any, pair: Pair, number: int) -> str:
    user = client.auth.sign_up({"email": f"planted-{number}@example.com", "password": PASSWORD}).user
    client.auth.mfa.enroll({"factor_type": "totp", "friendly_name": "phone"})
    client.auth.sign_out()
    return str(user.id)
