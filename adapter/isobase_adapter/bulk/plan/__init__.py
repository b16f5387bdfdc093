"""The plan of a move: what there is on both sides, what of it moves, what does not, and what to do. Changes nothing.

``questions`` asks the databases, ``facts`` keeps the answers and measures rates, ``judging`` says what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from isobase_adapter.bulk.connections import check_sides, connected
from isobase_adapter.bulk.plan.facts import Facts, Rates, measure, read_facts, read_schema_gap
from isobase_adapter.bulk.plan.judging import Item, Verdict, counted, groups_of_tables, judge
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.report import Page, Section, duration_text, size_text
from isobase_adapter.sides import Side

__all__ = ["Estimate", "Plan", "make_plan"]

PARALLEL_GAIN = 1.6
"""What four ranges at a time bring over one, as measured; more connections help where the network is slow."""
INDEX_BYTES_PER_S = 60e6
"""How fast indexes are made, about."""
USERS_PER_S = 500.0
OBJECTS_PER_S = 20.0


@dataclass(slots=True, frozen=True)
class Estimate:
    """Seconds that a copy is going to take, by part, from measured rates."""

    rows_s: float
    indexes_s: float
    users_s: float
    objects_s: float

    @property
    def total_s(self) -> float:
        """All of it, one after the other."""
        return self.rows_s + self.indexes_s + self.users_s + self.objects_s


@dataclass(slots=True)
class Plan:
    """What a plan found. ``missing``, ``differing``: definitions that the target lacks, or has otherwise."""

    items: list[Item]
    groups: list[list[str]]
    missing: list[str]
    differing: list[str]
    summary: dict[str, Any]
    rates: Rates
    estimate: Estimate
    unanswered: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings."""
        return max((item.verdict for item in self.items), key=list(Verdict).index, default=Verdict.WORKS)

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return asdict(self) | {
            "verdict": self.verdict,
            "counts": {str(verdict): count for verdict, count in counted(self.items).items()},
            "estimate": asdict(self.estimate) | {"total_s": self.estimate.total_s},
        }

    def page(self) -> Page:
        """Give it as a page, with what needs work first."""
        counts = counted(self.items)
        facts = [
            *self.summary.items(),
            (
                "Measured",
                f"reading {size_text(self.rates.read)}/s, writing {size_text(self.rates.write)}/s, one connection",
            ),
            ("Time of a copy, about", duration_text(self.estimate.total_s)),
        ]
        sections = [
            Section(
                title,
                ("Kind", "Name", "Finding", "What to do"),
                [(item.kind, item.name, item.text, item.todo) for item in self.items if item.verdict is verdict],
            )
            for verdict, title in (
                (Verdict.NO, "Does not move by itself"),
                (Verdict.REMARK, "Works, with a remark"),
            )
        ]
        sections += [
            Section(
                "Tables that belong together",
                ("Group", "Tables"),
                [(number, ", ".join(group)) for number, group in enumerate(self.groups, 1)],
                "Foreign keys or triggers tie them: give them one flag.",
            ),
            Section(
                "Time of a copy, about",
                ("Part", "Time"),
                [
                    ("rows", duration_text(self.estimate.rows_s)),
                    ("indexes", duration_text(self.estimate.indexes_s)),
                    ("users", duration_text(self.estimate.users_s)),
                    ("objects", duration_text(self.estimate.objects_s)),
                ],
            ),
            Section("Defined otherwise at Isobase already", ("What",), [(name,) for name in self.differing]),
            Section("Made by `copy`", ("What",), [(name,) for name in self.missing]),
            Section(
                "Works",
                ("Kind", "Name", "Finding"),
                [(item.kind, item.name, item.text) for item in self.items if item.verdict is Verdict.WORKS],
            ),
            Section(
                "Could not be looked at",
                ("Side", "What", "Why"),
                [(side, name, why) for side, several in self.unanswered.items() for name, why in several.items()],
                "Mostly parts that the project does not use.",
            ),
        ]
        verdict = (
            f"{counts[Verdict.WORKS]} work, {counts[Verdict.REMARK]} work with a remark,"
            f" {counts[Verdict.NO]} {'does' if counts[Verdict.NO] == 1 else 'do'} not move by"
            f" {'itself' if counts[Verdict.NO] == 1 else 'themselves'}"
        )
        tone = {Verdict.WORKS: "good", Verdict.REMARK: "warn", Verdict.NO: "bad"}[self.verdict]
        return Page("Plan of a move to Isobase", f"Of {len(self.items)} findings: {verdict}.", tone, facts, sections)


async def make_plan(dsns: Mapping[Side, str], progress: Progress = NO_PROGRESS) -> Plan:
    """Look at both sides and say what a move comes to; only reads, but for a temporary table at the target.

    Raises what ``check_sides`` raises.
    """
    await check_sides(dsns)
    async with (
        connected(dsns[Side.SUPABASE], "plan") as source,
        connected(dsns[Side.ISOBASE], "plan") as target,
    ):
        progress.say("Reading Supabase")
        here = await read_facts(source)
        progress.say("Reading Isobase")
        there = await read_facts(target)
        progress.say("Comparing schemas")
        missing, differing = await read_schema_gap(source, target)
        progress.say("Measuring")
        rates = await measure(source, target, here)
    return Plan(
        items=judge(here, there),
        groups=groups_of_tables(here),
        missing=missing,
        differing=differing,
        summary=_summary(here),
        rates=rates,
        estimate=_estimate(here, rates),
        unanswered={"supabase": here.unanswered, "isobase": there.unanswered},
    )


def _summary(facts: Facts) -> dict[str, Any]:
    tables, buckets = facts.rows("tables"), facts.rows("buckets")
    return {
        "Database": size_text(facts.one("server").get("size_bytes", 0)),
        "Tables": len(tables),
        "Rows, about": _rows_text(tables),
        "Functions": len(facts.rows("functions")),
        "Policies": sum(row["policies"] for row in tables),
        "Users": facts.one("users").get("count", 0),
        "Buckets": len(buckets),
        "Objects": sum(row["objects"] for row in buckets),
        "Bytes of objects": size_text(sum(row["size_bytes"] for row in buckets)),
    }


def _rows_text(tables: Sequence[Mapping[str, Any]]) -> str:
    """Say how many rows there are by the planner's statistics, which a table may not have yet."""
    unknown = sum(row["rows"] < 0 for row in tables)
    known = sum(max(row["rows"], 0) for row in tables)
    return f"{known:,}" + (f", and those of {unknown} tables without statistics" if unknown else "")


def _estimate(facts: Facts, rates: Rates) -> Estimate:
    tables, buckets = facts.rows("tables"), facts.rows("buckets")
    objects_s = max(
        sum(row["objects"] for row in buckets) / OBJECTS_PER_S,
        sum(row["size_bytes"] for row in buckets) / max(rates.both, 1.0),
    )
    return Estimate(
        rows_s=sum(row["size_bytes"] for row in tables) / max(rates.both * PARALLEL_GAIN, 1.0),
        indexes_s=sum(row["index_bytes"] for row in tables) / INDEX_BYTES_PER_S,
        users_s=facts.one("users").get("count", 0) / USERS_PER_S,
        objects_s=objects_s,
    )
