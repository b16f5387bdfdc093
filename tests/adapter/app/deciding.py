"""What an operator does about dead letters: look at both sides, put the right version where it counts, retry with it.

Only the app knows which of two versions counts (here its journals do). An operator writes that one to the side that is
written first, as the runbook says, and has the letters carried from there: ``isobase migrate outbox list | show | drop |
retry --keep``. Nobody writes meanwhile.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tests.adapter.app.commands import migrate
from tests.adapter.app.facts import found_at, name_of, value_of
from tests.adapter.app.journal import Report
from tests.adapter.pair import BUCKETS, Pair, SideStack

__all__ = ["Undecidable", "decide"]

TABLES = ("public.orders", "public.order_lines", "public.notes", "shop.stock")
"""Those whose rows others refer to come first."""
MOST_LETTERS = "1000"
SHOWN = 3
"""So many letters of each run are looked at one by one."""


class Undecidable(Exception):
    """Neither side, and no letter, has what the app was told."""


def decide(pair: Pair, pattern: str, report: Report, counts: Counter[str]) -> bool:
    """Decide about all dead letters; False where there are none. counts: what was done.

    Users are merged whatever is said, so nothing is written for them. Raises ``Undecidable``.
    """
    letters = _dead(pair)
    if not letters:
        return False
    ((side,),) = pair.isobase.query("select side from isobase.writers where pattern = %s", pattern)
    writer, other = (pair.supabase, pair.isobase) if side == "supabase" else (pair.isobase, pair.supabase)
    kept = _versions(pair, letters)
    named = {thing["resource"] for letter in letters for thing in letter["things"]}
    here, there = found_at(writer), found_at(other)
    missed = [name for name in report.things if name.partition("/")[0] in BUCKETS and name.partition("/")[0] in named]
    for name in missed:
        if _is_wrong(report, name, here.get(name)):
            _right(report, name, [there.get(name)])
            _bring_object(name, there.get(name), writer, other)
            counts["decided: an object of the other side"] += 1
    for table in (table for table in TABLES if table in named or _is_referring(table, named)):
        _merge(table, writer, other, report, kept, counts)
    dropped = _twice(letters)
    if dropped:
        migrate(pair, "outbox", "drop", *map(str, dropped), "--reason", "another letter names the same")
        counts["decided: dropped"] += len(dropped)
    for letter in letters:
        if letter["id"] not in dropped:
            migrate(pair, "outbox", "retry", str(letter["id"]), "--keep", side)
            counts[f"decided: {letter['things'][0]['kind']} retried"] += 1
    return True


def _dead(pair: Pair) -> list[dict[str, Any]]:
    if pair.isobase.query("select count(*) from isobase.outbox where state = 'dead'") == [(0,)]:
        return []  # a command takes a moment to start
    found = migrate(pair, "outbox", "list", "--state", "dead", "--limit", MOST_LETTERS)
    letters: list[dict[str, Any]] = found["entries"]
    return letters


def _versions(pair: Pair, letters: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows that letters keep, by name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number, letter in enumerate(letters):
        shown = migrate(pair, "outbox", "show", str(letter["id"]))["entry"] if number < SHOWN else letter
        table = shown["things"][0]["resource"]
        for row in shown["versions"].values():
            if isinstance(row, dict) and table in TABLES:
                found.setdefault(name_of(row, table), []).append(row)
    return found


def _twice(letters: Sequence[Mapping[str, Any]]) -> list[int]:
    """Letters that name what another one names as well."""
    first: dict[str, int] = {}
    twice = []
    for letter in letters:
        text = json.dumps([{**thing, "is_anew": True} for thing in letter["things"]], sort_keys=True)
        if first.setdefault(text, letter["id"]) != letter["id"]:
            twice.append(letter["id"])
    return twice


def _is_referring(table: str, named: set[str]) -> bool:
    return table == "public.order_lines" and "public.orders" in named


def _merge(
    table: str,
    writer: SideStack,
    other: SideStack,
    report: Report,
    kept: Mapping[str, list[dict[str, Any]]],
    counts: Counter[str],
) -> None:
    """Write to the writer's side what the app was told, where it holds something else."""
    here, there = ({name_of(row, table): row for row in _rows(side, table)} for side in (writer, other))
    kinds = {name.partition("/")[0] for name in (*here, *there)}
    mentioned = {name for name in report.things if name.partition("/")[0] in kinds}
    for name in sorted({*here, *there, *mentioned}):
        if not _is_wrong(report, name, _value(here.get(name), table)):
            continue
        rows = [there.get(name), *kept.get(name, [])]
        right = _right(report, name, [_value(row, table) for row in rows])
        _write(writer, table, here.get(name), rows[right])
        counts["decided: a row of the other side"] += 1


def _value(row: Mapping[str, Any] | None, table: str) -> str | None:
    return None if row is None else value_of(row, table)


def _is_wrong(report: Report, name: str, value: str | None) -> bool:
    return name in report.things and value not in report.things[name].possible


def _right(report: Report, name: str, values: Sequence[str | None]) -> int:
    """Which of these values the app was told."""
    for number, value in enumerate(values):
        if value in report.things[name].possible:
            return number
    history = "\n    ".join(report.things[name].history[-12:])
    raise Undecidable(f"{name} is {values}, may be {report.things[name].possible}:\n    {history}")


def _rows(side: SideStack, table: str) -> list[dict[str, Any]]:
    return [row for (row,) in side.query(f"select to_jsonb(t) from {table} as t")]


def _key(side: SideStack, table: str) -> list[str]:
    return [
        name
        for (name,) in side.query(
            "select quote_ident(a.attname) from pg_index as i join pg_attribute as a on a.attrelid = i.indrelid"
            " and a.attnum = any(i.indkey) where i.indrelid = %s::regclass and i.indisprimary",
            table,
        )
    ]


def _write(side: SideStack, table: str, before: Mapping[str, Any] | None, row: Mapping[str, Any] | None) -> None:
    """Make a row what it should be, with SQL, as no command writes rows."""
    key = _key(side, table)
    if before is not None:
        named = " and ".join(f"t.{column} = b.{column}" for column in key)
        side.query(
            f"delete from {table} as t using jsonb_populate_record(null::{table}, %s::jsonb) as b where {named}",
            json.dumps(before),
        )
    if row is not None:
        columns = ", ".join(
            name
            for (name,) in side.query(
                "select quote_ident(attname) from pg_attribute where attrelid = %s::regclass and attnum > 0"
                " and not attisdropped and attgenerated = ''",
                table,
            )
        )
        side.query(
            f"insert into {table} ({columns}) select {columns} from jsonb_populate_record(null::{table}, %s::jsonb)",
            json.dumps(row),
        )


def _bring_object(name: str, value: str | None, writer: SideStack, other: SideStack) -> None:
    def call(side: SideStack, method: str, **more: Any) -> httpx.Response:
        headers = {"apikey": side.service_role_key, "authorization": f"Bearer {side.service_role_key}"}
        url = f"{side.url}/storage/v1/object/{name}"
        answer = httpx.request(method, url, headers=headers | more.pop("headers", {}), timeout=30, **more)
        answer.raise_for_status()
        return answer

    if value is None:
        call(writer, "DELETE")
        return
    there = call(other, "GET")
    headers = {"x-upsert": "true", "content-type": there.headers["content-type"]}
    call(writer, "POST", headers=headers, content=there.content)
