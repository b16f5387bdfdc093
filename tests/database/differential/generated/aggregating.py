"""Generated aggregates: groups, sums and counts, at the top and in embeds over the schema ``lab``."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.database.differential.generated.model import TABLES, Table
from tests.database.differential.generated.reading import filters, name_of, role_of
from tests.database.differential.generated.request import Parameter, Request
from tests.database.differential.generated.values import chance, some

__all__ = ["aggregates"]

_FUNCTIONS = ("count", "sum", "avg", "min", "max")


def _aggregate(draw: DrawFn, table: Table, number: int) -> str:
    alias = f"a{number}:" if chance(draw, 60) or number else ""
    if chance(draw, 30):
        return f"{alias}count()"
    numeric = [name for name, kind in table.columns.items() if kind in {"int", "number", "float"}]
    column = draw(st.sampled_from(numeric if chance(draw, 85) else tuple(table.columns)))
    cast = draw(st.sampled_from(("", "", "", "::text", "::nosuch")))
    return f"{alias}{name_of(draw, column)}.{draw(st.sampled_from(_FUNCTIONS))}(){cast}"


def _grouped(draw: DrawFn, table: Table) -> tuple[str, list[str]]:
    groups = [name_of(draw, draw(st.sampled_from(tuple(table.columns)))) for _ in some(draw, 2)]
    return ",".join([*groups, *(_aggregate(draw, table, number) for number in some(draw, 2, 1))]), groups


@st.composite
def aggregates(draw: DrawFn) -> Request:
    """GET of a table with aggregates in its select, or in the select of an embed. Those of spreads were mended in 14."""
    table = TABLES[draw(st.sampled_from(tuple(TABLES)))]
    parameters: list[Parameter] = []
    selected, groups = _grouped(draw, table)
    if table.relations and chance(draw, 50):
        relation = draw(st.sampled_from(table.relations))
        inner, _ = _grouped(draw, TABLES[relation.target])
        if chance(draw, 60):
            selected = ",".join(name_of(draw, key) for key in table.key)
        selected += f",{relation.name}({inner})"
    parameters.append(("select", selected))
    parameters += filters(draw, table, most=1)
    if groups and chance(draw, 40):
        parameters.append(("order", ",".join(groups)))
    headers = {"Accept-Profile": "lab"}
    if chance(draw, 15):
        headers["Prefer"] = "count=exact"
    if chance(draw, 10):
        headers["Accept"] = draw(st.sampled_from(("text/csv", "application/vnd.pgrst.object+json")))
    return Request(table.name, "GET", tuple(parameters), headers, role=role_of(draw))
