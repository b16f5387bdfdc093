"""Generated reads: select trees, filters, logic, order and limits over the schema ``lab``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from isobase_platform.caller import ANON_ROLE, AUTHENTICATED_ROLE, SERVICE_ROLE
from tests.database.differential.generated.model import TABLES, Kind, Table
from tests.database.differential.generated.request import Parameter, Request
from tests.database.differential.generated.values import chance, literal, quoted, some

__all__ = ["Embed", "filters", "headers_of_read", "name_of", "narrowing", "reads", "role_of", "select"]

MAX_DEPTH = 3
_PLAIN_NAME = re.compile(r"[\w $]+")
_CASTS = ("text", "integer", "json", "numeric", "date", "nosuch", "text[]", "character varying")
_STEPS = ("->a", "->>a", "->a->b", "->>n", "->0", "->a->b->0", "->-1", "->>k", "->a->>b", "->tags->>1", "->'a'")
_COMPARING = ("eq", "neq", "gt", "gte", "lt", "lte", "isdistinct")
_MATCHING = ("like", "ilike", "match", "imatch")
_CONTAINING = ("cs", "cd", "ov")
_RANGING = ("sl", "sr", "nxr", "nxl", "adj", "cs", "cd", "ov")
_SEARCHING = ("fts", "plfts", "phfts", "wfts")
_BY_KIND: dict[Kind, tuple[str, ...]] = {
    "text": _COMPARING + _MATCHING,
    "texts": _COMPARING + _CONTAINING,
    "ints": _COMPARING + _CONTAINING,
    "span": _RANGING,
    "period": _RANGING,
    "words": _SEARCHING,
    "jsonb": (*_COMPARING, "cs", "cd"),
}
_ANY_OPERATOR = tuple(sorted({*_COMPARING, *_MATCHING, *_CONTAINING, *_RANGING, *_SEARCHING}))
_MEDIA = (
    "text/csv",
    "application/vnd.pgrst.object+json",
    "application/vnd.pgrst.object",
    "application/vnd.pgrst.array+json;nulls=stripped",
    "application/vnd.pgrst.object+json;nulls=stripped",
    "*/*",
    "application/octet-stream",
    "text/plain",
    "application/geo+json",
    "text/html, application/json;q=0.5",
    "application/json; charset=utf-8",
)
_STRAY = (("nosuch", "eq.1"), ("nosuch", "x"), ("columns", "a"), ("on_conflict", "a'b"), ("", "eq.1"), ("columns", ""))


@dataclass(slots=True, frozen=True)
class Embed:
    """An embed of a select, as further parameters name it."""

    name: str
    relation: str
    table: Table
    embeds: tuple[Embed, ...]
    is_single: bool


def name_of(draw: DrawFn, name: str) -> str:
    """A column or table as the language takes it; in quotes where it must be, and sometimes where it need not."""
    if not _PLAIN_NAME.fullmatch(name) or name.strip() != name or chance(draw, 5):
        return quoted(name)
    return name


def role_of(draw: DrawFn) -> str | None:
    """Who asks: mostly the role that sees everything."""
    if chance(draw, 70):
        return SERVICE_ROLE
    return draw(st.sampled_from((AUTHENTICATED_ROLE, ANON_ROLE, None)))


def _column(draw: DrawFn, table: Table) -> str:
    if chance(draw, 1):
        return draw(st.sampled_from(("nosuch", "Id", "nam", "orgs")))
    if table.computed and chance(draw, 10):
        return draw(st.sampled_from(table.computed))
    return draw(st.sampled_from(tuple(table.columns)))


def _field(draw: DrawFn, table: Table) -> tuple[str, Kind]:
    """A column, with a way into it where it is JSON; and the kind that its value has."""
    column = _column(draw, table)
    kind = table.columns.get(column, "text")
    name = name_of(draw, column)
    if kind in {"json", "jsonb", "row", "texts", "ints"} and chance(draw, 50 if kind in {"json", "jsonb"} else 5):
        steps = draw(st.sampled_from(_STEPS))
        return name + steps, "text" if "->>" in steps else "jsonb"
    return name, kind


def _item(draw: DrawFn, table: Table) -> str:
    if chance(draw, 12):
        return "*"
    text, _ = _field(draw, table)
    if chance(draw, 15):
        text = f"{draw(st.sampled_from(('al', 'id', 'x y', 'named-so')))}:{text}"
    if chance(draw, 8):
        text += f"::{draw(st.sampled_from(_CASTS)) if chance(draw, 20) else 'text'}"
    return text


def select(draw: DrawFn, table: Table, depth: int = 0) -> tuple[str, tuple[Embed, ...]]:
    """A select list over ``table``, and its embeds.

    Left out are to-many spreads, which version 12 has not; embeds of nothing but empty embeds, which it shows; and siblings
    of one relation: which of them a parameter is for depends upstream on the order of the parameters.
    """
    parts = [_item(draw, table) for _ in some(draw, 4, 1)]
    embeds: list[Embed] = []
    if table.relations and depth < MAX_DEPTH:
        for _ in some(draw, 2 if depth else 3):
            relation = draw(st.sampled_from(table.relations))
            child = TABLES[relation.target]
            inner, nested = select(draw, child, depth + 1)
            asked, name = relation.name, relation.name.partition("!")[0]
            if any(name == other.relation for other in embeds):
                continue
            if "!inner" not in asked and chance(draw, 20):
                asked += draw(st.sampled_from(("!inner", "!left")))
            if relation.is_single and chance(draw, 15):
                asked = f"...{asked}"
            elif chance(draw, 40):
                name = f"e{len(embeds)}"
                asked = f"{name}:{asked}"
            parts.append(f"{asked}({inner})")
            embeds.append(Embed(name, relation.name.partition("!")[0], child, nested, relation.is_single))
    if depth and not embeds and chance(draw, 10):
        return "", ()
    return ",".join(parts), tuple(embeds)


def _list_of(draw: DrawFn, kind: Kind, brackets: str) -> str:
    values = [literal(draw, kind) for _ in some(draw, 4)]
    shown = [quoted(value) if re.search(r'[,()"{}\\]', value) or chance(draw, 20) else value for value in values]
    return f"{brackets[0]}{','.join(shown)}{brackets[1]}"


def _filtered(draw: DrawFn, table: Table) -> tuple[str, Kind]:
    """A field to filter by: none of a row's type, whose values upstream cannot read."""
    field, kind = _field(draw, table)
    return (name_of(draw, table.key[0]), table.columns[table.key[0]]) if kind == "row" else (field, kind)


def _condition(draw: DrawFn, kind: Kind, *, in_tree: bool) -> str:
    """What follows the name of a column: ``not.op.value``."""
    negation = "not." if chance(draw, 15) else ""
    if chance(draw, 12):
        return f"{negation}in.{_list_of(draw, kind, '()')}"
    if chance(draw, 12):
        words = ("null", "null", "NULL", "true", "maybe") if kind != "bool" else ("true", "false", "unknown", "TRUE")
        return f"{negation}is.{draw(st.sampled_from(words))}"
    fitting = _BY_KIND.get(kind, _COMPARING)
    operator = draw(st.sampled_from(_ANY_OPERATOR if chance(draw, 4) else fitting))
    if operator not in {"neq", "isdistinct"} and operator in _COMPARING + _MATCHING and chance(draw, 12):
        return f"{negation}{operator}({draw(st.sampled_from(('any', 'all')))}).{_list_of(draw, kind, '{}')}"
    if operator in _SEARCHING and chance(draw, 30):
        operator += draw(st.sampled_from(("(english)", "(simple)", "(english)", "(simple)", "(nosuch)")))
    value = literal(draw, kind)
    if operator in _MATCHING and chance(draw, 60):
        value = draw(st.sampled_from(("*a*", "A%", "^[A-C]", "_n_", "*.*", "a.b", "*ü*", "*\\*")))
    if in_tree and (re.search(r'[,()"\\]', value) or chance(draw, 10)):
        value = quoted(value)
    return f"{negation}{operator}.{value}"


def _tree(draw: DrawFn, table: Table, depth: int = 0) -> str:
    members = []
    for _ in some(draw, 3, 1):
        if depth < 2 and chance(draw, 20):
            word = draw(st.sampled_from(("and", "or", "not.and", "not.or")))
            members.append(f"{word}{_tree(draw, table, depth + 1)}")
        else:
            name, kind = _filtered(draw, table)
            members.append(f"{name}.{_condition(draw, kind, in_tree=True)}")
    separator = draw(st.sampled_from((",", ", ")))
    return f"({separator.join(members)})"


def filters(
    draw: DrawFn, table: Table, embeds: tuple[Embed, ...] = (), prefix: str = "", most: int = 2
) -> list[Parameter]:
    """Filters on a table, and on its embeds by their path."""
    found: list[Parameter] = []
    for _ in some(draw, most):
        if chance(draw, 15):
            word = draw(st.sampled_from(("and", "or", "not.and", "not.or")))
            found.append((f"{prefix}{word}", _tree(draw, table)))
        else:
            name, kind = _filtered(draw, table)
            found.append((f"{prefix}{name}", _condition(draw, kind, in_tree=False)))
    for embed in embeds:
        if chance(draw, 10):
            found.append(
                (f"{prefix}{embed.name}", draw(st.sampled_from(("is.null", "not.is.null", "not.is.null", "eq.1"))))
            )
        if chance(draw, 35):
            found += filters(draw, embed.table, embed.embeds, f"{prefix}{embed.name}.", most=1)
    return found


def _order(draw: DrawFn, table: Table, embeds: tuple[Embed, ...], *, complete: bool) -> str:
    terms = []
    for _ in some(draw, 2, 0 if complete else 1):
        if embeds and chance(draw, 20):
            embed = draw(st.sampled_from(embeds))
            # No function that reads as a column: upstream has no row to call it on.
            column = draw(st.sampled_from(tuple(embed.table.columns)))
            terms.append(f"{embed.name}({name_of(draw, column)})")
        else:
            terms.append(_field(draw, table)[0])
        terms[-1] += draw(st.sampled_from(("", "", ".asc", ".desc")))
        terms[-1] += draw(st.sampled_from(("", "", ".nullsfirst", ".nullslast")))
    if complete:
        terms += [name_of(draw, column) for column in table.key]
    return ",".join(terms)


def narrowing(
    draw: DrawFn, table: Table, embeds: tuple[Embed, ...], prefix: str = "", *, is_ordered: bool
) -> list[Parameter]:
    """Order and limits, of the rows and of the rows of embeds. With ``is_ordered`` every list has one order."""
    found: list[Parameter] = []
    if is_ordered or chance(draw, 20):
        found.append((f"{prefix}order", _order(draw, table, embeds, complete=is_ordered)))
    if is_ordered and chance(draw, 25):
        found.append((f"{prefix}limit", draw(st.sampled_from(("1", "2", "3", "100", "0", "-1", "x", "99999999999")))))
    if is_ordered and chance(draw, 15):
        found.append((f"{prefix}offset", draw(st.sampled_from(("1", "2", "0", "50", "-1", "x")))))
    for embed in embeds:
        if not embed.is_single:
            found += narrowing(draw, embed.table, embed.embeds, f"{prefix}{embed.name}.", is_ordered=is_ordered)
        elif embed.embeds:
            found += [
                parameter
                for parameter in narrowing(
                    draw, embed.table, embed.embeds, f"{prefix}{embed.name}.", is_ordered=is_ordered
                )
                if parameter[0].count(".") > (prefix + embed.name + ".").count(".")
            ]
    return found


def headers_of_read(draw: DrawFn, *, is_ordered: bool) -> dict[str, str]:
    """Accept, Prefer and Range of a read."""
    headers: dict[str, str] = {}
    if chance(draw, 15):
        headers["Accept"] = draw(st.sampled_from(_MEDIA))
    if chance(draw, 20):
        wishes = ("count=exact", "count=exact", "handling=strict", "handling=lenient", "return=minimal", "nonsense")
        headers["Prefer"] = ", ".join(draw(st.sampled_from(wishes)) for _ in some(draw, 2, 1))
    if is_ordered and chance(draw, 10):
        ranges = ("0-1", "1-", "1-1", "5-9", "3-1", "x", "0-0", "-2", "items=0-1")
        headers["Range"] = draw(st.sampled_from(ranges))
    return headers


@st.composite
def reads(draw: DrawFn) -> Request:
    """GET and HEAD of a table or view with everything that the language has."""
    table = TABLES[draw(st.sampled_from(tuple(TABLES)))]
    parameters: list[Parameter] = []
    embeds: tuple[Embed, ...] = ()
    if chance(draw, 80):
        text, embeds = select(draw, table)
        parameters.append(("select", text))
    is_ordered = chance(draw, 75)
    parameters += filters(draw, table, embeds)
    parameters += narrowing(draw, table, embeds, is_ordered=is_ordered)
    if chance(draw, 3):
        parameters.append(draw(st.sampled_from(_STRAY)))
    return Request(
        table.name,
        "HEAD" if chance(draw, 8) else "GET",
        tuple(parameters),
        {"Accept-Profile": "lab", **headers_of_read(draw, is_ordered=is_ordered)},
        role=role_of(draw),
        is_ordered=is_ordered,
    )
