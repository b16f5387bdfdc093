"""``isobase migrate outbox list | show | edit | retry | drop`` and ``isobase migrate drain``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from isobase_adapter.bulk.cutover import carriers_of
from isobase_adapter.bulk.host import opened_host_parts
from isobase_adapter.bulk.parts import opened_parts
from isobase_adapter.contracts import OutboxAway
from isobase_adapter.control.operator import account_name
from isobase_adapter.control.sqlite import SqliteStore
from isobase_adapter.drainer import Drainer
from isobase_adapter.outbox.entries import Entry, State
from isobase_adapter.outbox.letters import LetterRefused, Letters
from isobase_adapter.outbox.letters_sqlite import FileLetters
from isobase_adapter.sides import Side
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.migrate import Places, answer, known_databases, places_of, run
from isobase_deploy.cli.migrate_control import note_new_file, plain, table
from isobase_deploy.cli.migrate_copy import apis_of
from isobase_platform.errors import BadRequest, Unavailable
from isobase_platform.observe import configure_logging

__all__ = ["drain_command", "drop_command", "edit_command", "list_command", "retry_command", "show_command"]

MAX_ERROR_CHARS = 120


_Kind = TypeVar("_Kind", list[Any], dict[str, Any])


def list_command(parsed: argparse.Namespace) -> int:
    """List what waits."""

    async def work(letters: Letters) -> int:
        state = None if parsed.state is None else State(parsed.state)
        entries = await letters.list(state=state, capability=parsed.capability, limit=parsed.limit)
        answer(parsed, {"entries": plain(entries)}, lambda: _table(entries))
        return ExitCode.OK

    return _with_letters(parsed, work)


def show_command(parsed: argparse.Namespace) -> int:
    """Show one entry."""

    async def work(letters: Letters) -> int:
        _answer_one(parsed, await letters.show(parsed.number))
        return ExitCode.OK

    return _with_letters(parsed, work)


def edit_command(parsed: argparse.Namespace) -> int:
    """Have a dead letter carried otherwise."""
    key = None if parsed.key is None else _json(parsed.key, list, "--key is a JSON list of the key's values")
    image = None
    if parsed.image is not None:
        image = _json(_text_of(parsed.image), dict, "--image holds a JSON object of columns' values")
    if key is None and image is None and not parsed.leave_out:
        raise BadRequest("nothing is to be edited", hint="give --key, --leave-out or --image")

    async def work(letters: Letters) -> int:
        edited = await letters.edit(
            parsed.number, key=None if key is None else tuple(key), leave_out=parsed.leave_out, image=image
        )
        _answer_one(parsed, edited)
        return ExitCode.OK

    return _with_letters(parsed, work)


def _text_of(place: str) -> str:
    try:
        return sys.stdin.read() if place == "-" else Path(place).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"cannot read {place}: {error}") from error


def _json(text: str, kind: type[_Kind], what: str) -> _Kind:
    value: object
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise BadRequest(what, hint='for example [17], or {"state": "paid"}')
    return value


def retry_command(parsed: argparse.Namespace) -> int:
    """Carry dead letters once more; one that is refused ends it, and is named."""

    async def work(letters: Letters) -> int:
        keep = None if parsed.keep is None else Side(parsed.keep)
        by = parsed.by or account_name()
        retried = [await letters.retry(one, keep=keep, by=by) for one in await _meant(parsed, letters)]
        answer(parsed, {"entries": plain(retried)}, lambda: _table(tuple(retried)))
        return ExitCode.OK

    return _with_letters(parsed, work)


def drop_command(parsed: argparse.Namespace) -> int:
    """Forget dead letters."""

    async def work(letters: Letters) -> int:
        dropped = await _meant(parsed, letters)
        for one in dropped:
            await letters.drop(one, reason=parsed.reason, by=parsed.by or account_name())
        answer(parsed, {"dropped": dropped}, lambda: f"dropped {', '.join(map(str, dropped)) or 'nothing'}")
        return ExitCode.OK

    return _with_letters(parsed, work)


async def _meant(parsed: argparse.Namespace, letters: Letters) -> list[int]:
    """Give the numbers that the command line names, or with ``--all`` those of all dead letters, the oldest first."""
    if parsed.all == bool(parsed.numbers) or (parsed.capability and not parsed.all):
        raise BadRequest("name dead letters by their numbers, or say --all (with --capability for one of them)")
    if not parsed.all:
        return list(dict.fromkeys(parsed.numbers))
    return await letters.dead(parsed.capability)


def drain_command(parsed: argparse.Namespace) -> int:
    """Carry what waits; exit code 10 where something is left."""
    configure_logging("warning", "text")
    places = places_of(parsed)

    async def work() -> int:
        async with _drainer(parsed, places) as drainer:
            try:
                drained = await drainer.drain(parsed.timeout)
            except OutboxAway as error:
                raise Unavailable(str(error)) from error
        answer(
            parsed,
            dataclasses.asdict(drained),
            lambda: f"carried {drained.carried}, dead {drained.dead}, still waiting {drained.waiting}",
        )
        return ExitCode.NOT_IN_ORDER if drained.dead or drained.waiting else ExitCode.OK

    return run(work())


@asynccontextmanager
async def _drainer(parsed: argparse.Namespace, places: Places) -> AsyncIterator[Drainer]:
    if parsed.control_file is not None:
        note_new_file(parsed.control_file)
        async with opened_host_parts(parsed.control_file, known_databases(places), apis_of(places)) as host:
            yield host.drainer()
        return
    async with opened_parts(places.databases(), apis_of(places)) as parts:
        yield Drainer(parts.outbox, carriers_of(parts))


def _with_letters(parsed: argparse.Namespace, work: Callable[[Letters], Awaitable[int]]) -> int:
    async def opened() -> int:
        async with _letters(parsed) as letters:
            return await work(letters)

    return run(opened())


@asynccontextmanager
async def _letters(parsed: argparse.Namespace) -> AsyncIterator[Letters]:
    async with AsyncExitStack() as opened:
        letters: Letters
        if parsed.control_file is not None:
            note_new_file(parsed.control_file)
            store = SqliteStore(parsed.control_file)
            await store.open()
            opened.push_async_callback(store.close)
            letters = FileLetters(store)
        else:
            places = places_of(parsed)
            places.require("isobase_db_url")
            pool = asyncpg.create_pool(places.isobase_db_url, min_size=0, max_size=2)
            letters = Letters(await opened.enter_async_context(pool))
        try:
            yield letters
        except LetterRefused as error:
            raise BadRequest(str(error)) from error
        except OutboxAway as error:
            raise Unavailable(str(error)) from error


def _answer_one(parsed: argparse.Namespace, entry: Entry) -> None:
    answer(parsed, {"entry": plain(entry)}, lambda: _page(entry))


def _table(entries: tuple[Entry, ...]) -> str:
    if not entries:
        return "nothing waits"
    return table(
        ("number", "state", "to", "what", "call", "tries", "since", "why"),
        (
            (
                entry.id,
                "conflict" if entry.is_conflict else entry.state,
                entry.target,
                _named(entry),
                f"{entry.call.method} {entry.call.path}".strip(),
                entry.attempts,
                entry.created_at.isoformat(timespec="seconds"),
                (entry.error or "").splitlines()[0][:MAX_ERROR_CHARS] if entry.error else "",
            )
            for entry in entries
        ),
    )


def _page(entry: Entry) -> str:
    lines = [_table((entry,))]
    if entry.error:
        lines += ["", entry.error]
    if entry.edit is not None:
        lines += ["", "edited:", json.dumps(entry.edit.as_json(), indent=2, default=str, ensure_ascii=False)]
    for side, version in entry.versions.items():
        lines += ["", f"at {side}:", json.dumps(version, indent=2, default=str, ensure_ascii=False)]
    return "\n".join(lines)


def _named(entry: Entry) -> str:
    thing = entry.things[0]
    key = json.dumps(list(thing.key), ensure_ascii=False, default=str) if thing.key else ""
    more = f" and {len(entry.things) - 1} more" if len(entry.things) > 1 else ""
    anew = " with what refers to it" if thing.is_anew else ""
    return f"{thing.kind} {thing.resource} {key}".strip() + anew + more
