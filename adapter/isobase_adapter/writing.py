"""The dual-write protocol: a generator that yields steps and gets replies. It does no I/O.

    begin -> send first -> judge -> carry -> settle
                              |         `-> postpone   the second side failed or was slow
                              |-> settle               the first side refused
                              `-> doubt                nobody knows whether the first side has it

A write is acknowledged only while its intent is surely there: settling or postponing it says so.

Rows, users and objects all use it, through the drivers of ``performing``. The caller's own steps (``SendFirst``,
``Judge``) run where the caller is, all others on the runtime's loop. docs/migration/outbox.md says what is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

import httpx

from isobase_adapter.capabilities import Capability, most_specific
from isobase_adapter.contracts import CallRecord, Intent, Snapshot, Writer
from isobase_adapter.reasons import reason_of
from isobase_adapter.sides import Side
from isobase_adapter.stages import WriteRoute
from isobase_adapter.things import Thing, distinct

__all__ = [
    "Begin",
    "Begun",
    "CallerLeft",
    "CallerStep",
    "Carry",
    "Doubt",
    "DualWrite",
    "Judge",
    "Judgement",
    "NeverSent",
    "Outcome",
    "Postpone",
    "RuntimeStep",
    "SendFirst",
    "Settle",
    "Steps",
    "TooLate",
    "WriteNotAdmitted",
    "WriteRevoked",
    "WritingLimits",
    "dual_write",
    "outcome_of_error",
    "outcome_of_status",
    "writer_for",
]

A = TypeVar("A")


class Outcome(Enum):
    """What the first side made of a write."""

    TAKEN = "taken"
    """It has it."""
    REFUSED = "refused"
    """It has not, and never will: it said so, or the call never reached it."""
    ENDED = "ended"
    """The server ended the call with an error of its own; what it left behind is not known."""
    UNKNOWN = "unknown"
    """No answer, or one of somebody in between: the write may have happened, or may still happen."""


class WriteNotAdmitted(httpx.PoolTimeout):
    """The write was not let in within ``WritingLimits.admission_s``, and was sent nowhere.

    A handover took longer than that, or something of the same row still has to reach this side.
    """


class TooLate(Exception):
    """This process stood still between letting the write in and sending it: begin again."""


class CallerLeft(Exception):
    """The caller was cancelled, or interrupted, while it waited for the first side."""


class NeverSent(CallerLeft):
    """The caller was cancelled, or interrupted, before it called the first side."""


class WriteRevoked(httpx.ReadError):
    """The first side took the write, but too late: its lease was over, or a failover moved the writer meanwhile.

    Whether it will count is not known; both sides are made equal in the background.
    """


@dataclass(slots=True, frozen=True)
class Judgement:
    """What an answer of the first side means.

    things: all that the write changed, what was known before included; None: what was named before. Wholes may be
    among them. Only read where the outcome is ``TAKEN``. waits: whether the caller waits for the second side; what is
    large is carried in the background at once.
    """

    outcome: Outcome
    things: Sequence[Thing] | None = None
    waits: bool = True


@dataclass(slots=True, frozen=True)
class DualWrite:
    """A write to both sides.

    things: what it may change, as far as is known before (else the whole of its resource). route: gives the route in
    a snapshot; asked again when the writer has moved; a route whose ``first`` is not the writer's side is a
    fallback. lease_s: seconds until the first write has surely ended, None: the outbox's setting.
    """

    capability: Capability
    call: CallRecord
    things: tuple[Thing, ...]
    route: Callable[[Snapshot], WriteRoute]
    lease_s: float | None = None


@dataclass(slots=True, frozen=True)
class WritingLimits:
    """Times of a write, in seconds.

    admission_s: how long a write waits to be let in while the writer is handed over; longer than any handover can hold
    writes up (``OVERDUE_S``), so that none fails because of one. behind_s: how long it waits for what must go
    the other way first, before that becomes a dead letter with both versions. carry_s: how long a caller waits for the
    second side; then it is carried in the background.
    """

    admission_s: float = 45.0
    behind_s: float = 3.0
    carry_s: float = 2.0


@dataclass(slots=True, frozen=True)
class Begun:
    """A write that was let in; ``intent`` is None where the route has no second side."""

    route: WriteRoute
    intent: Intent | None


@dataclass(slots=True, frozen=True)
class Begin:
    """Let the write in. Reply: ``Begun``. Waits while the writer is handed over."""

    write: DualWrite


@dataclass(slots=True, frozen=True)
class SendFirst:
    """The caller's step: send the call to ``side``. Reply: the answer, or its error is thrown.

    Not sent after ``before_s`` (``seconds_since_boot``): then ``TooLate`` is thrown, as the lease would not cover the call.
    """

    side: Side
    before_s: float = float("inf")


@dataclass(slots=True, frozen=True)
class Judge(Generic[A]):
    """The caller's step: what does ``answer`` mean? Reply: ``Judgement``."""

    answer: A


@dataclass(slots=True, frozen=True)
class Carry:
    """Carry things to the second side, within the limit. Reply: whether the intent was settled with it."""

    intent: Intent
    things: tuple[Thing, ...]


@dataclass(slots=True, frozen=True)
class Settle:
    """Forget the intent. ``acknowledges``: the caller is told that the write counts."""

    intent: Intent
    acknowledges: bool = True


@dataclass(slots=True, frozen=True)
class Postpone:
    """Carry the things in the background."""

    intent: Intent
    things: tuple[Thing, ...]
    error: str


@dataclass(slots=True, frozen=True)
class Doubt:
    """Have what the intent names compared in the background."""

    intent: Intent
    error: str
    has_ended: bool


RuntimeStep = Begin | Carry | Settle | Postpone | Doubt
CallerStep = SendFirst | Judge[Any]
Steps = Generator[RuntimeStep | CallerStep, Any, A]


def writer_for(snapshot: Snapshot, capability: Capability) -> Writer:
    """Give the writer of a capability: that of the most specific pattern, else Supabase in epoch 0."""
    pattern = most_specific(snapshot.writers, capability)
    return Writer(str(capability)) if pattern is None else snapshot.writers[pattern]


def outcome_of_status(status: int) -> Outcome:
    """Judge an answer by its HTTP status.

    408 says that the server gave up waiting, 502 and 504 come from somebody in between, 503 from either: the write may
    still happen. Every other refusal of a client's error is definite; the server's own 500 and 501 end the call.
    """
    if status < 400:
        return Outcome.TAKEN
    if status in (408, 499):
        return Outcome.UNKNOWN
    if status < 500:
        return Outcome.REFUSED
    return Outcome.ENDED if status in (500, 501) else Outcome.UNKNOWN


def outcome_of_error(error: BaseException) -> Outcome:
    """Judge an error of sending: what never left this process is refused, of anything else nobody knows."""
    never_sent = (
        NeverSent,
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.UnsupportedProtocol,
        httpx.ProxyError,
        httpx.InvalidURL,
        httpx.LocalProtocolError,
    )
    return Outcome.REFUSED if isinstance(error, never_sent) else Outcome.UNKNOWN


def dual_write(write: DualWrite) -> Steps[Any]:
    """Yield the steps of one write and return the first side's answer; errors of the first side pass as they are."""
    while True:
        begun: Begun = yield Begin(write)
        intent = begun.intent
        if intent is None:
            return (yield SendFirst(begun.route.first))
        try:
            answer = yield SendFirst(begun.route.first, intent.send_before_s)
        except TooLate:
            yield Settle(intent, acknowledges=False)
        except BaseException as error:
            if outcome_of_error(error) is Outcome.REFUSED:
                yield Settle(intent, acknowledges=False)
            else:
                yield Doubt(intent, type(error).__name__, has_ended=False)
            raise
        else:
            break
    try:
        judgement: Judgement = yield Judge(answer)
    except BaseException as error:
        yield Doubt(intent, type(error).__name__, has_ended=False)
        raise
    match judgement.outcome:
        case Outcome.REFUSED:
            yield Settle(intent, acknowledges=False)
        case Outcome.ENDED | Outcome.UNKNOWN:
            yield Doubt(intent, "no clear answer", has_ended=judgement.outcome is Outcome.ENDED)
        case Outcome.TAKEN:
            things = intent.things if judgement.things is None else distinct(judgement.things)
            yield from _finish(intent, things, waits=judgement.waits)
    return answer


def _finish(intent: Intent, things: tuple[Thing, ...], *, waits: bool) -> Steps[None]:
    """Bring what the first side took to the second."""
    if not things:
        yield Settle(intent)
        return
    if not waits or intent.is_queued or any(thing.is_whole for thing in things):
        yield Postpone(intent, things, "")
        return
    try:
        has_settled = yield Carry(intent, things)
    except BaseException as error:
        # Whatever it is, the first side has the write, and the caller gets its answer.
        yield Postpone(intent, things, reason_of(error))
        if isinstance(error, Exception):
            return
        raise
    if not has_settled:
        yield Settle(intent)
