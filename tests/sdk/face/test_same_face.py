"""Every name, argument, default, type and base of supabase-py's packages is the SDK's too, or is listed with its reason."""

from __future__ import annotations

import pytest

from .comparison import DIFFERENCES_PAGE, UPSTREAM, Difference, differences, listed, row_of


@pytest.mark.parametrize("package", UPSTREAM)
def test_every_difference_from_upstream_is_listed_with_its_reason(package: str) -> None:
    rows = listed()
    unlisted = [f"{found.place} {found.what}" for found in differences(package) if row_of(found, rows) is None]
    assert unlisted == [], f"list them in {DIFFERENCES_PAGE.name}, or mend them"


def test_every_listed_difference_is_still_one_and_has_a_reason() -> None:
    found = [difference for package in UPSTREAM for difference in differences(package)]
    rows = listed()
    assert [row.patterns for row in rows if not row.reason] == []
    stale = [
        pattern
        for row in rows
        for pattern in row.patterns
        if not any(row_of(difference, [type(row)((pattern,), row.reason)]) for difference in found)
    ]
    assert stale == []


def test_the_comparison_sees_a_missing_name() -> None:
    assert row_of(Difference("postgrest.APIError", "is missing"), listed()) is None
