"""The dual-write protocol alone: which steps follow which answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import CallRecord, Intent
from isobase_adapter.sides import Side
from isobase_adapter.stages import WriteRoute
from isobase_adapter.things import Thing, ThingKind
from isobase_adapter.writing import (
    Begin,
    Begun,
    Judgement,
    Outcome,
    SendFirst,
    Settle,
    TooLate,
    WriteRevoked,
    dual_write,
    outcome_of_error,
    outcome_of_status,
)
from isobase_adapter.writing import DualWrite as Write

ORDERS = Capability(Kind.TABLE, "public.orders")
ROW = Thing(ThingKind.ROW, "public.orders", (1,))
TABLE = Thing(ThingKind.TABLE, "public.orders")


def steps_of(
    replies: dict[str, Any],
    *,
    target: Side = Side.ISOBASE,
    carries: bool = True,
    is_queued: bool = False,
) -> tuple[list[str], object]:
    """Play the protocol with these replies (by the step's name; an exception is thrown) and name its steps."""
    route = WriteRoute(target.other, carries=carries)
    intent = Intent(7, str(ORDERS), target, 0, (TABLE,), is_queued) if carries else None
    said: dict[str, Any] = {"Begin": Begun(route, intent), "SendFirst": "answer", "Carry": False, **replies}
    steps = dual_write(Write(ORDERS, CallRecord("POST", "/rest/v1/orders"), (TABLE,), lambda _: route))
    names: list[str] = []
    move: Callable[[], object] = lambda: next(steps)  # noqa: E731
    while True:
        try:
            step = move()
        except StopIteration as end:
            return names, end.value
        except Exception as error:
            return names, error
        name = type(step).__name__
        names.append(f"{name}({step.has_ended})" if name == "Doubt" else name)  # type: ignore[attr-defined]
        reply = said.get(name)
        if isinstance(reply, Exception):
            move = lambda error=reply: steps.throw(error)  # type: ignore[misc] # noqa: E731
        else:
            move = lambda value=reply: steps.send(value)  # type: ignore[misc] # noqa: E731


def taken(*things: Thing) -> Judgement:
    return Judgement(Outcome.TAKEN, things)


@pytest.mark.parametrize(
    ("replies", "target", "expected"),
    [
        pytest.param({"Judge": taken(ROW)}, Side.ISOBASE, ["Carry", "Settle"], id="carried, then settled"),
        pytest.param({"Judge": taken(ROW), "Carry": True}, Side.ISOBASE, ["Carry"], id="settled with the row"),
        pytest.param({"Judge": taken(ROW)}, Side.SUPABASE, ["Carry", "Settle"], id="back to Supabase"),
        pytest.param({"Judge": taken(ROW), "Carry": OSError()}, Side.ISOBASE, ["Carry", "Postpone"], id="second fails"),
        pytest.param({"Judge": taken()}, Side.ISOBASE, ["Settle"], id="nothing changed"),
        pytest.param(
            {"Judge": Judgement(Outcome.TAKEN)}, Side.ISOBASE, ["Postpone"], id="a whole table is swept later"
        ),
        pytest.param({"Judge": Judgement(Outcome.REFUSED)}, Side.ISOBASE, ["Settle"], id="refused"),
        pytest.param({"Judge": Judgement(Outcome.ENDED)}, Side.ISOBASE, ["Doubt(True)"], id="the server's own error"),
        pytest.param({"Judge": Judgement(Outcome.UNKNOWN)}, Side.ISOBASE, ["Doubt(False)"], id="no clear answer"),
    ],
)
def test_what_follows_an_answer(replies: dict[str, Any], target: Side, expected: list[str]) -> None:
    names, result = steps_of(replies, target=target)
    assert names == ["Begin", "SendFirst", "Judge", *expected]
    assert result == "answer"


def test_a_call_that_never_left_is_settled_and_its_error_raised() -> None:
    error = httpx.ConnectError("refused")
    assert steps_of({"SendFirst": error}) == (["Begin", "SendFirst", "Settle"], error)


def test_a_lost_connection_leaves_the_intent_in_doubt_and_the_error_is_raised() -> None:
    error = httpx.ReadError("cut")
    assert steps_of({"SendFirst": error}) == (["Begin", "SendFirst", "Doubt(False)"], error)


def test_an_answer_that_cannot_be_judged_leaves_the_intent_in_doubt() -> None:
    error = ValueError("no JSON")
    assert steps_of({"Judge": error}) == (["Begin", "SendFirst", "Judge", "Doubt(False)"], error)


def test_a_write_behind_a_dead_letter_is_left_to_the_drainer() -> None:
    names, _ = steps_of({"Judge": taken(ROW)}, is_queued=True)
    assert names == ["Begin", "SendFirst", "Judge", "Postpone"]


def test_a_revoked_write_is_not_acknowledged() -> None:
    error = WriteRevoked("moved")
    assert steps_of({"Judge": taken(ROW), "Settle": error}, target=Side.SUPABASE) == (
        ["Begin", "SendFirst", "Judge", "Carry", "Settle"],
        error,
    )


def test_one_side_alone_takes_no_further_step() -> None:
    assert steps_of({}, carries=False) == (["Begin", "SendFirst"], "answer")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.TAKEN),
        (204, Outcome.TAKEN),
        (302, Outcome.TAKEN),
        (400, Outcome.REFUSED),
        (409, Outcome.REFUSED),
        (429, Outcome.REFUSED),
        (408, Outcome.UNKNOWN),
        (500, Outcome.ENDED),
        (502, Outcome.UNKNOWN),
        (503, Outcome.UNKNOWN),
        (504, Outcome.UNKNOWN),
    ],
)
def test_what_a_status_says(status: int, outcome: Outcome) -> None:
    assert outcome_of_status(status) is outcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx.ConnectError("x"), Outcome.REFUSED),
        (httpx.ConnectTimeout("x"), Outcome.REFUSED),
        (httpx.PoolTimeout("x"), Outcome.REFUSED),
        (httpx.ReadTimeout("x"), Outcome.UNKNOWN),
        (httpx.WriteError("x"), Outcome.UNKNOWN),
        (httpx.RemoteProtocolError("x"), Outcome.UNKNOWN),
        (RuntimeError("x"), Outcome.UNKNOWN),
    ],
)
def test_what_an_error_says(error: Exception, outcome: Outcome) -> None:
    assert outcome_of_error(error) is outcome


def test_a_process_that_stood_still_before_sending_begins_again() -> None:
    route = WriteRoute(Side.SUPABASE, carries=True)
    intent = Intent(7, str(ORDERS), Side.ISOBASE, 0, (TABLE,), send_before_s=5.0)
    steps = dual_write(Write(ORDERS, CallRecord("POST", "/rest/v1/orders"), (TABLE,), lambda _: route))
    next(steps)
    assert steps.send(Begun(route, intent)) == SendFirst(Side.SUPABASE, 5.0)
    assert steps.throw(TooLate()) == Settle(intent, acknowledges=False)
    assert isinstance(next(steps), Begin)
    steps.close()
