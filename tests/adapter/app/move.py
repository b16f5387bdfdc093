"""Runs the sample app's processes beside an operator's acts, and says at the end what each side has.

with Running(pair, folder, users=20, processes=3) as app:
    app.wait_for(200)             # acknowledged facts
    await operator.set_flag(...)
report = app.report()
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from isobase_adapter.control.operator import Operator
from isobase_adapter.control.postgres import PostgresStore
from tests.adapter.app.facts import found_at, name_of
from tests.adapter.app.journal import Reader, Report, report_of
from tests.adapter.app.users import UserPlan
from tests.adapter.app.worker import Plan
from tests.adapter.pair import Pair
from tests.plugins.stack import clean_environment

__all__ = ["Running", "dead_letters", "operator_of", "outbox_lines"]

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 300.0
POLL_S = 0.05
RPC_RULES = "public.add_note=tables:public.notes,public.set_stock=tables:shop.stock"
REPOSITORY = Path(__file__).parents[3]


class Running:
    """The sample app's processes.

    pair: where the app's clients go (it may stand behind proxies). users: how many, over all processes. seed: what they do.
    """

    def __init__(
        self,
        pair: Pair,
        folder: Path,
        *,
        users: int,
        processes: int,
        seed: int = 1,
        pause_s: float = 0.1,
        kinds: tuple[str, ...] = ("rows",),
        timeout_s: int = 120,
        settings: Mapping[str, Any] | None = None,
        send_within_s: float | None = None,
        adopt_every_s: float | None = None,
    ) -> None:
        self.pair = pair
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self._plans: list[Path] = []
        self._stop, self._pause = folder / "stop", folder / "pause"
        self._number = processes
        self._users = users
        self._seed = seed
        self._reader = Reader(folder)
        self._seen: dict[tuple[str, ...], str] = {}
        self._pause_s = pause_s
        self._kinds = kinds
        self._timeout_s = timeout_s
        self._settings = dict(settings or {})
        self._send_within_s, self._adopt_every_s = send_within_s, adopt_every_s

    def __enter__(self) -> Self:
        """Sign the users up and start the processes; returns when all have their flags."""
        users = []
        for number in range(self._users):
            made = self.pair.sign_up(f"u{number}-{self._seed}@example.com")
            users.append(UserPlan(f"u{number}", made.id, made.email, made.access_token))
        for number in range(self._number):
            path = self.folder / f"plan-{number}.json"
            Plan(
                journal=str(self.folder / f"journal-{number}.jsonl"),
                stop=str(self._stop),
                pause=str(self._pause),
                seed=self._seed,
                environment=self.pair.environment(),
                users=users[number :: self._number],
                pause_s=self._pause_s,
                kinds=self._kinds,
                timeout_s=self._timeout_s,
                rpc=RPC_RULES,
                settings=self._settings,
                send_within_s=self._send_within_s,
                adopt_every_s=self._adopt_every_s,
            ).write(path)
            self._plans.append(path)
            self.processes.append(self._started(path))
        self._wait(lambda: self._count("ready") >= self._number, START_TIMEOUT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes; kills what does not end."""
        self._stop.touch()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in self.processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                if error is None:
                    raise RuntimeError(f"the app does not end: {self.output()}") from None

    def kill(self, number: int) -> None:
        """Kill a process; ``restart`` starts another in its place, which goes on in the same journal."""
        self.processes[number].kill()
        self.processes[number].wait()

    def freeze(self, number: int) -> int:
        """Stop a process as it stands; ``thaw`` lets it go on. Returns its id."""
        self.processes[number].send_signal(signal.SIGSTOP)
        return self.processes[number].pid

    def thaw(self, number: int) -> None:
        """Let it go on."""
        self.processes[number].send_signal(signal.SIGCONT)

    def restart(self, number: int) -> None:
        """Start a process anew, with other numbers and things."""
        plan = Plan.read(self._plans[number])
        users = [replace(user, name=f"{user.name}r") for user in plan.users]
        again = Plan(**{name: getattr(plan, name) for name in Plan.__dataclass_fields__} | {"users": users})
        again.write(self._plans[number])
        self.processes[number] = self._started(self._plans[number])

    def pause(self) -> None:
        """Let every user end its fact, and begin no other; returns when all have."""
        pauses = self._count("paused")
        self._pause.touch()
        self._wait(lambda: self._count("paused") >= pauses + self._number, STOP_TIMEOUT_S)

    def resume(self) -> None:
        """Let them go on."""
        self._pause.unlink(missing_ok=True)

    def wait_for(self, more: int, timeout_s: float = 120.0) -> None:
        """Wait for so many more acknowledged facts."""
        until = self._count("acknowledged") + more
        self._wait(lambda: self._count("acknowledged") >= until, timeout_s)

    def report(self) -> Report:
        """What the journals say now."""
        return report_of(self._reader.read())

    def _count(self, state: str) -> int:
        self._reader.read()
        return self._reader.states[state]

    def output(self) -> str:
        """What the processes wrote, in short."""
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("output-*.log")))

    def lost(self, *sides: str) -> list[str]:
        """What is not as acknowledged, at the named sides."""
        report, kept = self.report(), dead_letters(self.pair)
        wrong = []
        for side in sides:
            found = found_at(getattr(self.pair, side), self._seen)
            wrong += [f"at {side}: {line}" for line in report.lost(found, kept)]
        return wrong

    def _started(self, plan: Path) -> subprocess.Popen[bytes]:
        log = (self.folder / f"output-{plan.stem}.log").open("ab")
        try:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.adapter.app.worker", str(plan)],
                cwd=REPOSITORY,
                env=clean_environment(),
                stdout=log,
                stderr=log,
            )
        finally:
            log.close()

    def _wait(self, is_there: Any, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_there():
            if any(process.poll() for process in self.processes):
                raise RuntimeError(f"a process of the app ended: {self.output()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the app stands still: {self.report().failed[-5:]} {self.output()}")
            time.sleep(POLL_S)


def operator_of(pair: Pair) -> Operator:
    """An operator at the pair's control store."""
    return Operator(PostgresStore(pair.isobase.db_url), by="a test")


def outbox_lines(pair: Pair) -> list[tuple[Any, ...]]:
    """What the outbox holds."""
    return pair.isobase.query(
        "select id, state, capability, target, epoch, coalesce(thing, things), attempts, error"
        " from isobase.outbox order by id"
    )


def dead_letters(pair: Pair) -> set[str]:
    """The things of which a dead letter keeps both versions."""
    kept = set()
    for thing, versions in pair.isobase.query(
        "select thing, versions from isobase.outbox where state = 'dead' and versions is not null"
    ):
        match thing["kind"]:
            case "object":
                kept.add(f"{thing['resource']}/{thing['key'][0]}")
            case "user":
                for side in (pair.supabase, pair.isobase):
                    named = side.query("select email from auth.users where id::text = %s", str(thing["key"][0]))
                    kept |= {f"users/{email}" for (email,) in named}
            case _:
                for version in versions.values():
                    if isinstance(version, dict):
                        kept.add(name_of(version, thing["resource"]))
    return kept
