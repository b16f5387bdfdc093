"""What the generator knows of the schema ``lab`` (lab.sql): tables, columns by kind, relationships and functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["FUNCTIONS", "TABLES", "Function", "Kind", "Relation", "Table"]

Kind: TypeAlias = Literal[
    "int",
    "text",
    "bool",
    "date",
    "time",
    "uuid",
    "plan",
    "json",
    "jsonb",
    "texts",
    "ints",
    "span",
    "period",
    "words",
    "number",
    "float",
    "bytes",
    "row",
    "interval",
]


@dataclass(slots=True, frozen=True)
class Relation:
    """One way to embed: ``name`` as it is asked for, the table that comes, and whether it is a single row."""

    name: str
    target: str
    is_single: bool


@dataclass(slots=True, frozen=True)
class Table:
    """A table or view. ``key`` orders its rows completely; ``computed`` are functions that read as columns."""

    name: str
    columns: dict[str, Kind]
    key: tuple[str, ...]
    relations: tuple[Relation, ...] = ()
    computed: tuple[str, ...] = ()
    is_writable: bool = True


@dataclass(slots=True, frozen=True)
class Function:
    """A function: its arguments, and the table or the columns that its result has (None: no rows of columns)."""

    name: str
    arguments: dict[str, Kind]
    table: str | None = None
    columns: tuple[str, ...] = ()
    is_volatile: bool = False
    is_variadic: bool = False


def _one(name: str, target: str) -> Relation:
    return Relation(name, target, is_single=True)


def _many(name: str, target: str) -> Relation:
    return Relation(name, target, is_single=False)


_ALL: tuple[Table, ...] = (
    Table(
        "orgs",
        {
            "id": "int",
            "name": "text",
            "parent_id": "int",
            "plan": "plan",
            "meta": "jsonb",
            "founded": "date",
            "score": "float",
        },
        ("id",),
        (
            _many("members", "members"),
            _many("teams", "teams"),
            _many("events", "events"),
            _one("parent_id", "orgs"),
            _many("orgs", "orgs"),
            _many("orgs!parent_id", "orgs"),
            _many("active_members", "active_members"),
        ),
        ("label",),
    ),
    Table(
        "members",
        {
            "id": "int",
            "org_id": "int",
            "name": "text",
            "address": "text",
            "joined": "time",
            "tags": "texts",
            "active": "bool",
        },
        ("id",),
        (
            _one("orgs", "orgs"),
            _one("org_id", "orgs"),
            _one("orgs!members_org_id_fkey", "orgs"),
            _one("badges", "badges"),
            _many("seats", "seats"),
            _many("teams!seats", "teams"),
            _many("teams!lead_id", "teams"),
            _many("teams", "teams"),
            _many("notes!notes_author", "notes"),
            _many("notes!editor_id", "notes"),
            _many("notes", "notes"),
            _many("written", "notes"),
            _one("org_names", "org_names"),
        ),
        ("initial",),
    ),
    Table(
        "teams",
        {"org_id": "int", "code": "text", "title": "text", "lead_id": "int"},
        ("org_id", "code"),
        (
            _one("orgs", "orgs"),
            _one("lead_id", "members"),
            _one("members!teams_lead_id_fkey", "members"),
            _many("seats", "seats"),
            _many("seats!seats_team", "seats"),
            _many("members!seats", "members"),
            _many("desks", "desks"),
        ),
    ),
    Table(
        "seats",
        {"org_id": "int", "code": "text", "member_id": "int", "since": "date"},
        ("org_id", "code", "member_id"),
        (_one("teams", "teams"), _one("members", "members"), _one("member_id", "members"), _one("seats_team", "teams")),
    ),
    Table(
        "badges",
        {"member_id": "int", "label": "text", "level": "int"},
        ("member_id",),
        (_one("members", "members"), _one("members!inner", "members")),
    ),
    Table(
        "notes",
        {
            "id": "int",
            "author_id": "int",
            "editor_id": "int",
            "body": "text",
            "data": "json",
            "vec": "ints",
            "span": "span",
            "period": "period",
            "words": "words",
            "rating": "number",
            "big": "int",
            "uid": "uuid",
            "box": "row",
            "raw": "bytes",
            "loud": "text",
        },
        ("id",),
        (
            _one("members!notes_author", "members"),
            _one("editor_id", "members"),
            _one("members", "members"),
            _one("notes_author", "members"),
            _one("writer", "members"),
        ),
    ),
    Table(
        "events",
        {"id": "int", "kind": "text", "org_id": "int", "took": "interval"},
        ("id", "kind"),
        (_one("orgs", "orgs"), _one("org_id", "orgs")),
    ),
    Table(
        "ledger",
        {"id": "int", "owner": "uuid", "amount": "number"},
        ("id",),
        (_many("ledger_lines", "ledger_lines"),),
    ),
    Table("ledger_lines", {"id": "int", "ledger_id": "int", "memo": "text"}, ("id",), (_one("ledger", "ledger"),)),
    Table(
        "odd one",
        {
            "a b": "int",
            "co,mma": "text",
            "do.t": "text",
            'quo"te': "text",
            "pa(ren)": "text",
            "col:on": "text",
            "ünï": "text",
            "back\\slash": "text",
            "select": "text",
            "per%cent": "text",
            "Upper": "text",
        },
        ("a b",),
    ),
    Table(
        "org_names",
        {"org": "int", "title": "text", "above": "int"},
        ("org",),
        (_many("members", "members"), _one("above", "orgs"), _many("teams", "teams"), _many("events", "events")),
    ),
    Table("org_titles", {"org": "int", "title": "text"}, ("org",), (_many("members", "members"),)),
    Table(
        "active_members",
        {"id": "int", "org_id": "int", "name": "text", "active": "bool"},
        ("id",),
        (_one("orgs", "orgs"), _many("seats", "seats"), _one("org_names", "org_names")),
    ),
    Table(
        "desks",
        {"org_id": "int", "code": "text", "member_id": "int", "name": "text"},
        ("org_id", "code", "member_id"),
        (_one("teams", "teams"), _one("members", "members")),
        is_writable=False,
    ),
    Table(
        "org_sizes",
        {"id": "int", "name": "text", "size": "int"},
        ("id",),
        (_many("members", "members"), _one("orgs", "orgs")),
        is_writable=False,
    ),
)
TABLES: dict[str, Table] = {table.name: table for table in _ALL}

FUNCTIONS: tuple[Function, ...] = (
    Function("plus", {"a": "int", "b": "int"}),
    Function("orgs_of", {"wanted": "plan"}, "orgs"),
    Function("member", {"wanted": "int"}, "members"),
    Function("members_in", {"orgs": "ints"}, "members"),
    Function("total", {"v": "number"}, is_variadic=True),
    Function("shout", {"words": "text"}, is_variadic=True),
    Function("table_of", {"n": "int"}, columns=("k", "sq", "word")),
    Function("texts", {}),
    Function("sizes", {}, columns=("width", "height")),
    Function("void", {}),
    Function("echo", {"j": "jsonb"}),
    Function("body", {}),
    Function("says", {"t": "text", "d": "date", "r": "span", "f": "bool"}),
    Function("twin", {"a": "int", "b": "text"}),
    Function("outs", {"a": "int", "b": "int"}, columns=("b", "c")),
    Function("hire", {"who": "text", "org": "int"}, "members", is_volatile=True),
    Function("rename_all", {"suffix": "text"}, "orgs", is_volatile=True),
    Function("refuse", {"code": "text"}),
    Function("whoami", {}),
)
