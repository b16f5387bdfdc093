"""The relations that a select embeds."""

from __future__ import annotations

import pytest

from isobase_adapter.http.selects import embedded_names


@pytest.mark.parametrize(
    "select, embeds",
    [
        ("*", ()),
        ("id,name,price::text,doc->>a", ()),
        ("*,lines(*)", (("", None, "lines"),)),
        ("id,c:customers!owner_id!inner(name,cities(*)),...shop(a)", (
            ("", "owner_id", "customers"),
            ("customers", None, "cities"),
            ("", None, "shop"),
        )),
        ("amount.sum(),total:amount.avg(),count()", ()),
        ("lines(count)", (("", None, "lines"),)),
        ("lines()", (("", None, "lines"),)),
        ("lines!left(amount.sum())", (("", None, "lines"),)),
        ('"odd (name),x"(id)', (("", None, "odd (name),x"),)),
    ],
)  # fmt: skip
def test_embeds_are_found_by_name(select: str, embeds: tuple[tuple[str, str | None, str], ...]) -> None:
    assert embedded_names(select) == embeds
