"""Which side's state of a row holds: a table of all cases."""

from __future__ import annotations

import pytest

from isobase_adapter.auth.merge import Agreed, Winner, merged_token, winner
from isobase_adapter.sides import Side

S, T, N = Winner.SOURCE, Winner.TARGET, Winner.NEITHER


@pytest.mark.parametrize(
    "source, target, agreed, holds",
    [
        pytest.param("a", "a", None, N, id="equal"),
        pytest.param("a", "a", Agreed("b"), N, id="changed to the same"),
        pytest.param(None, None, Agreed("a"), N, id="removed on both"),
        pytest.param("a", None, None, S, id="made at the source"),
        pytest.param(None, "a", None, T, id="made at the target"),
        pytest.param("a", "b", None, S, id="made on both"),
        pytest.param("b", "a", Agreed("a"), S, id="changed at the source"),
        pytest.param("a", "b", Agreed("a"), T, id="changed at the target"),
        pytest.param("b", "c", Agreed("a"), S, id="changed on both"),
        pytest.param(None, "a", Agreed("a"), S, id="removed at the source"),
        pytest.param("a", None, Agreed("a"), T, id="removed at the target"),
        pytest.param(None, "b", Agreed("a"), S, id="removed at the source, changed at the target"),
        pytest.param("b", None, Agreed("a"), T, id="changed at the source, removed at the target"),
    ],
)
@pytest.mark.parametrize("target_side", list(Side))
def test_the_side_that_moved_holds(
    source: str | None, target: str | None, agreed: Agreed | None, holds: Winner, target_side: Side
) -> None:
    assert winner(source, target, agreed, target_side) is holds


CHANGED = Agreed("a", "b", is_pending=True)
MADE = Agreed(None, "b", is_pending=True)
REMOVED = Agreed("a", None, is_pending=True)


@pytest.mark.parametrize(
    "isobase, supabase, agreed, holds",
    [
        pytest.param("b", "a", CHANGED, Side.ISOBASE, id="not changed yet"),
        pytest.param("b", None, MADE, Side.ISOBASE, id="not made yet"),
        pytest.param(None, "a", REMOVED, Side.ISOBASE, id="not removed yet"),
        pytest.param("a", "b", CHANGED, Side.ISOBASE, id="changed, and changed back at isobase"),
        pytest.param(None, "b", MADE, Side.ISOBASE, id="made, and removed at isobase"),
        pytest.param(None, "b", CHANGED, Side.ISOBASE, id="changed, and removed at isobase"),
        pytest.param("a", None, REMOVED, Side.ISOBASE, id="removed, and made again at isobase"),
        pytest.param("b", "c", CHANGED, Side.SUPABASE, id="changed, and changed again at supabase"),
        pytest.param("b", None, CHANGED, Side.SUPABASE, id="changed, and removed at supabase"),
    ],
)
@pytest.mark.parametrize("target_side", list(Side))
def test_what_a_crash_left_half_done_at_supabase_is_no_change_that_somebody_made_there(
    isobase: str | None, supabase: str | None, agreed: Agreed, holds: Side, target_side: Side
) -> None:
    source, target = (isobase, supabase) if target_side is Side.SUPABASE else (supabase, isobase)
    expected = Winner.TARGET if holds is target_side else Winner.SOURCE
    assert winner(source, target, agreed, target_side) is expected


@pytest.mark.parametrize("source", ["true", "false"])
def test_a_token_that_is_revoked_on_either_side_is_revoked(source: str) -> None:
    target = "false" if source == "true" else "true"
    early, late = "2026-01-01 00:00:00+00", "2026-01-01 00:00:05.5+00"
    one = {"token": "t", "revoked": source, "updated_at": early if source == "true" else late}
    other = {"token": "t", "revoked": target, "updated_at": early if target == "true" else late}
    assert merged_token(one, other)["revoked"] == "true"
    assert merged_token(one, other)["updated_at"] == early
    assert merged_token(one, other) == merged_token(other, one)


def test_a_token_keeps_the_time_of_its_first_revocation() -> None:
    early = {"token": "t", "revoked": "true", "updated_at": "2026-01-01 00:00:09+00"}
    late = {"token": "t", "revoked": "true", "updated_at": "2026-01-01 00:00:10.25+00"}
    assert merged_token(early, late) == merged_token(late, early) == early
