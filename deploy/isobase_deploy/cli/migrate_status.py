"""``isobase migrate status``: how a move stands, on one screen."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg

from isobase_adapter.capabilities import Capability, Kind, most_specific
from isobase_adapter.control.operator import Operator
from isobase_adapter.control.status import ReadFigures, Status, read_status
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_adapter.verify.standing import Standing, StandingReader
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.migrate import answer, on_signals, places_of, run
from isobase_deploy.cli.migrate_control import needing_rules, opened_operator, plain, table
from isobase_deploy.cli.migrate_flags import clients_text, flags_text, rules_text
from isobase_platform.observe import mask_secrets

__all__ = ["status", "status_text", "status_value"]

CLEAR_SCREEN = "\x1b[H\x1b[2J"
MAX_CAUSES = 5
STALE_S = 60.0
"""What waits for longer than this in the outbox has a reason that an operator looks at."""


def status(parsed: argparse.Namespace) -> int:
    """Show how the move stands, once or until Ctrl-C."""

    async def work() -> int:
        async with opened_operator(parsed) as operator, _opened_reader(parsed) as reader:
            ended = asyncio.Event()
            if parsed.watch:
                on_signals(ended.set)
            while True:
                found = await read_status(operator.store, window=timedelta(hours=parsed.hours))
                standing = None if reader is None else await reader.read()
                unruled = await _unruled(parsed, operator, found)
                if parsed.watch and parsed.output == "pretty" and sys.stdout.isatty():
                    sys.stdout.write(CLEAR_SCREEN)
                _show(parsed, found, standing, unruled)
                if not parsed.watch:
                    return ExitCode.OK
                try:
                    await asyncio.wait_for(ended.wait(), parsed.every)
                except TimeoutError:
                    continue
                return ExitCode.OK

    return run(work())


async def _unruled(parsed: argparse.Namespace, operator: Operator, found: Status) -> tuple[str, ...]:
    """Functions whose calls are or would be refused: not those that are past the move."""
    over = {view.flag.pattern for view in found.flags if view.flag.stage is Stage.COMPLETE}
    patterns = [view.flag.pattern for view in found.flags]
    return tuple(
        name
        for name in await needing_rules(parsed, operator)
        if most_specific(patterns, Capability(Kind.RPC, name)) not in over
    )


def _show(parsed: argparse.Namespace, found: Status, standing: Standing | None, unruled: Sequence[str]) -> None:
    if parsed.watch and parsed.output == "json":
        # One line each, for programs that read along.
        print(mask_secrets(json.dumps(status_value(found, standing, unruled), default=str)), flush=True)  # noqa: T201  the command's answer
        return
    answer(parsed, status_value(found, standing, unruled), lambda: status_text(found, standing, unruled))
    sys.stdout.flush()


@asynccontextmanager
async def _opened_reader(parsed: argparse.Namespace) -> AsyncIterator[StandingReader | None]:
    """What tells whether both sides are equal; None where the store is a file."""
    places = places_of(parsed)
    if parsed.control_file is not None or places.isobase_db_url is None:
        yield None
        return
    dsns = {Side.ISOBASE: places.isobase_db_url}
    if places.supabase_db_url:
        dsns[Side.SUPABASE] = places.supabase_db_url
    pool = await asyncpg.create_pool(places.isobase_db_url, min_size=0, max_size=1)
    reader = StandingReader(dsns, pool)
    try:
        yield reader
    finally:
        await reader.close()
        pool.terminate()


def status_value(found: Status, standing: Standing | None = None, unruled: Sequence[str] = ()) -> dict[str, object]:
    """Give it as plain JSON values."""
    return {
        **plain(found),
        "flags": [
            {**plain(view.flag), "writer": plain(view.writer), "acts_as": str(view.acts_as),
             "wants_handover": view.wants_handover}
            for view in found.flags
        ],
        "clients": [{**plain(client), "is_silent": client.is_silent} for client in found.clients],
        "reads": [
            {**plain(one), "mismatch_percent": one.mismatch_percent, "noise_percent": one.noise_percent}
            for one in found.reads
        ],
        "equality": None if standing is None else {"parts": plain(standing.parts), "note": standing.note},
        "functions_without_rule": list(unruled),
    }  # fmt: skip


def status_text(found: Status, standing: Standing | None = None, unruled: Sequence[str] = ()) -> str:
    """Give it as one screen."""
    return "\n".join(_lines(found, standing, unruled))


def _lines(found: Status, standing: Standing | None, unruled: Sequence[str]) -> Iterator[str]:
    hours = (found.at - found.since).total_seconds() / 3600
    yield f"{found.at:%Y-%m-%d %H:%M:%S} UTC, change {found.version}"
    yield ""
    yield flags_text(found.flags)
    yield ""
    yield clients_text(found.clients, found.version)
    yield ""
    if found.backlogs:
        rows = [
            (
                one.target,
                one.intents,
                one.pending,
                one.dead,
                "" if one.oldest_s is None else f"{max(one.oldest_s, 0):.1f} s",
            )
            for one in found.backlogs
        ]
        yield table(("outbox towards", "on their way", "waiting", "dead letters", "oldest"), rows)
        if any(one.dead or (one.oldest_s or 0) > STALE_S for one in found.backlogs):
            yield "isobase migrate outbox list says why"
    else:
        yield "outbox: empty"
    yield ""
    yield sync_text(found.sync)
    yield ""
    yield from _reads(found, hours)
    if standing is not None:
        yield ""
        yield from _equality(standing)
    if unruled:
        yield ""
        yield f"{rules_text(unruled)} while both sides are written"
    if found.breakers:
        yield ""
        yield table(("breaker", "side", "calls", "state", "client"), found.breakers)
    if found.events:
        yield ""
        events = [
            (
                f"{event.at:%H:%M:%S}",
                event.name,
                event.capability,
                ", ".join(f"{name} {value}" for name, value in event.detail.items())[:100],
            )
            for event in found.events
        ]
        yield table(("last events", "", "", ""), events)


def sync_text(sync: Mapping[str, Any]) -> str:
    """Say how ``sync`` is doing, in one line and one for each side."""
    if not sync:
        return "sync: never ran"
    lines = [f"sync: {'runs' if sync['is_running'] else 'DOES NOT RUN'}, heard {sync['said_s']:.0f} s ago"]
    for side, state in sync.get("sides", {}).items():
        lag = "" if state.get("lag_s") is None else f" ({state['lag_s']:.1f} s)"
        lines.append(
            f"  from {side}: {state.get('carried', 0)} carried, {state.get('strays', 0)} written past the adapter,"
            f" {state.get('lag_bytes') or 0} bytes behind{lag}"
            + (f", last error: {state['error']}" if state.get("error") else "")
        )
    if sync.get("set_aside"):
        lines.append(f"  set aside, tried again: {', '.join(sorted(sync['set_aside']))}")
    if sync.get("one_sided"):
        lines.append(f"  on one side alone: {', '.join(sync['one_sided'])}")
    return "\n".join(lines)


def _reads(found: Status, hours: float) -> Iterator[str]:
    span = f"last {hours:g} h"
    if not found.reads:
        yield f"calls, {span}: none counted"
        return
    rows = [
        (
            one.capability,
            one.counts.get("reads", 0),
            one.counts.get("writes", 0),
            sum(value for name, value in one.counts.items() if name.startswith("fallback")),
            one.compared,
            _percent(one.mismatch_percent),
            _percent(one.noise_percent),
            one.counts.get("failed", 0),
            sum(one.counts.get(name, 0) for name in ("dropped", "skipped")),
            _causes(one),
        )
        for one in found.reads
    ]
    head = (
        span,
        "reads",
        "writes",
        "fallbacks",
        "compared",
        "differ",
        "noise",
        "failed",
        "left out",
        "unexplained causes",
    )
    yield table(head, rows)


def _equality(standing: Standing) -> Iterator[str]:
    equal = [part for part in standing.parts if part.is_equal]
    if standing.differing:
        rows = [
            ("" if part.at is None else f"{part.at:%m-%d %H:%M:%S}", part.part, part.differing, line)
            for part in standing.differing
            for line in (part.named or ("",))
        ]
        yield table(("last verified", "not equal", "differ", "first"), rows)
    if equal:
        oldest = min(part.at for part in equal if part.at is not None)
        yield f"equal when last verified ({oldest:%m-%d %H:%M:%S} or later): {', '.join(part.part for part in equal)}"
    if not standing.parts:
        yield "equality: never verified (isobase migrate verify)"
    if standing.note:
        yield standing.note


def _causes(one: ReadFigures) -> str:
    shown = [f"{group.fingerprint} ({group.occurrences})" for group in one.unexplained[:MAX_CAUSES]]
    more = len(one.unexplained) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"
