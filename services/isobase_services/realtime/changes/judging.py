"""Who sees a row: the audiences of the sections that it concerns, each judged by the policies of its role.

First by the rule as a function, once for all callers with the same relevant claims; who is left open is asked about in
``visibility``, once per caller and table for all rows of the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from isobase_services.realtime.changes.groups import Audience, Section
from isobase_services.realtime.changes.policies.claims import UNKNOWN
from isobase_services.realtime.changes.policies.rule import Rule
from isobase_services.realtime.changes.row_sets import RowSet
from isobase_services.realtime.changes.rows import Row
from isobase_services.realtime.changes.tables import RoleRights
from isobase_services.realtime.changes.visibility import Check, Visibility

__all__ = ["Hit", "Planned", "judge"]


@dataclass(slots=True, eq=False)
class Hit:
    """A section that a row concerns. ``rule`` is None where every audience sees the row; ``seen_by`` who sees it.

    ``refusal`` is the error that takes the place of the row's content.
    """

    section: Section
    rights: RoleRights
    rule: Rule | None
    refusal: str | None = None
    seen_by: Iterable[Audience] = ()


@dataclass(slots=True, eq=False)
class Planned:
    """A row with the sections it concerns."""

    row: Row
    hits: list[Hit] = field(default_factory=list)


_Subject: TypeAlias = tuple[int, tuple[str, str]]
"""A table and a caller (by role and claims)."""


@dataclass(slots=True, eq=False)
class _Open:
    """An audience of a hit that only PostgreSQL can judge."""

    number: int
    audience: Audience
    seen_by: list[Audience]


@dataclass(slots=True, eq=False)
class _Asked:
    """What is asked about a subject: rows by their numbers in the batch."""

    audience: Audience
    rights: RoleRights
    numbers: dict[int, None] = field(default_factory=dict)


async def judge(planned: Sequence[Planned], visibility: Visibility) -> None:
    """Fill in ``seen_by`` of every hit. Raises ``Unavailable`` when the database could not be asked."""
    left: dict[_Subject, list[_Open]] = {}
    asked: dict[_Subject, _Asked] = {}
    for number, item in enumerate(planned):
        for hit in item.hits:
            if hit.rule is None:
                hit.seen_by = hit.section.audiences.values()
                continue
            seen_by: list[Audience] = []
            hit.seen_by = seen_by
            for audience in _judge_locally(item.row, hit, hit.rule, seen_by):
                subject = (item.row.table.oid, audience.key)
                left.setdefault(subject, []).append(_Open(number, audience, seen_by))
                question = asked.get(subject)
                if question is None:
                    question = asked[subject] = _Asked(audience, hit.rights)
                question.numbers[number] = None
    if not asked:
        return
    sets: dict[tuple[int, str, tuple[int, ...]], RowSet] = {}
    checks: list[Check] = []
    for (oid, who), question in asked.items():
        numbers = tuple(question.numbers)
        name = (oid, who[0], numbers)
        rows = sets.get(name)
        if rows is None:
            table = planned[numbers[0]].row.table
            rows = sets[name] = visibility.row_set(table, question.rights, [planned[number].row for number in numbers])
        checks.append(Check(who, question.audience.caller, rows))
    answers = await visibility.seen(checks)
    for (subject, question), places in zip(asked.items(), answers, strict=True):
        numbers = tuple(question.numbers)
        visible = {numbers[place] for place in places}
        for one in left[subject]:
            if one.number in visible:
                one.seen_by.append(one.audience)


def _judge_locally(row: Row, hit: Hit, rule: Rule, seen_by: list[Audience]) -> list[Audience]:
    """Put who sees the row for certain into ``seen_by``; returns who is left open."""
    left: list[Audience] = []
    judged = row.judged
    for claims in hit.section.by_claims(rule.terms).candidates(rule, judged):
        verdict = rule.verdict(judged, claims.values)
        if verdict is True:
            seen_by.extend(claims.members)
        elif verdict is UNKNOWN:
            left.extend(claims.members)
    return left
