"""The stages of a capability's move, as a pure state machine: which stage may follow which, who answers and who is
written.

``NEIGHBOURS`` is the transition table of docs/migration.md (a test compares them), ``read_route`` and ``write_route``
say what a stage means for one call. Nothing here reads a flag or does I/O.

Who is *written first* is not the stage's alone: it is the capability's ``writer``, one side for everybody at a time,
which is handed over under a fence once a stage holds for all users (docs/decisions/0036-one-writer-at-a-time.md). A
stage that asks for another writer than there is acts as the nearest stage that the writer allows (``clamped``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from isobase_adapter.sides import Side

__all__ = ["NEIGHBOURS", "ReadRoute", "Stage", "WriteRoute", "clamped", "read_route", "write_route", "writer_of"]


class Stage(StrEnum):
    """Which side answers and which sides are written; one step forwards or back at a time."""

    OFF = "off"
    """Supabase alone."""
    DUAL_WRITE = "dual_write"
    """Supabase answers; writes also go to Isobase."""
    SHADOW_READ = "shadow_read"
    """Both are read and compared; Supabase's answer is returned."""
    LIVE = "live"
    """Isobase answers and is written first; Supabase is still written and is the fallback."""
    RAMP_DOWN = "ramp_down"
    """Isobase alone is read; Supabase is still written."""
    COMPLETE = "complete"
    """Isobase alone."""

    def may_become(self, other: Stage) -> bool:
        """True when ``other`` is this stage's neighbour: every stage has one way on and one way back."""
        return other in NEIGHBOURS[self]


NEIGHBOURS: dict[Stage, tuple[Stage, ...]] = {
    Stage.OFF: (Stage.DUAL_WRITE,),
    Stage.DUAL_WRITE: (Stage.OFF, Stage.SHADOW_READ),
    Stage.SHADOW_READ: (Stage.DUAL_WRITE, Stage.LIVE),
    Stage.LIVE: (Stage.SHADOW_READ, Stage.RAMP_DOWN),
    Stage.RAMP_DOWN: (Stage.LIVE, Stage.COMPLETE),
    Stage.COMPLETE: (Stage.RAMP_DOWN,),
}
"""The stages that may follow each stage: one back, one on."""


@dataclass(slots=True, frozen=True)
class ReadRoute:
    """How a read goes: who answers, whether the other side is asked to compare, and whether it may answer instead."""

    answers: Side
    compares: bool = False
    falls_back: bool = False


@dataclass(slots=True, frozen=True)
class WriteRoute:
    """How a write goes:

    who is written first and answers, and whether what came of it is carried to the other side.
    """

    first: Side
    carries: bool = False
    falls_back: bool = False


def writer_of(stage: Stage) -> Side:
    """Give the side that is written first where ``stage`` holds for all users."""
    return Side.ISOBASE if stage in (Stage.LIVE, Stage.RAMP_DOWN, Stage.COMPLETE) else Side.SUPABASE


def clamped(stage: Stage, writer: Side) -> Stage:
    """Give the stage that is acted upon while ``writer`` is written first.

    Before the writer was handed over to Isobase no stage goes past ``LIVE`` (its reads may already come from
    Isobase, as all that is written is carried there before the caller hears of it); after, none goes below
    ``SHADOW_READ``, so that both sides stay written.
    """
    order = list(Stage)
    if writer is Side.SUPABASE:
        return min(stage, Stage.LIVE, key=order.index)
    return max(stage, Stage.SHADOW_READ, key=order.index)


def read_route(stage: Stage, writer: Side) -> ReadRoute:
    """Say how a read goes in ``stage`` while ``writer`` is written first."""
    match clamped(stage, writer):
        case Stage.OFF | Stage.DUAL_WRITE:
            return ReadRoute(Side.SUPABASE)
        case Stage.SHADOW_READ:
            return ReadRoute(Side.SUPABASE, compares=True)
        case Stage.LIVE:
            return ReadRoute(Side.ISOBASE, falls_back=True)
        case Stage.RAMP_DOWN | Stage.COMPLETE:
            return ReadRoute(Side.ISOBASE)


def write_route(stage: Stage, writer: Side) -> WriteRoute:
    """Say how a write goes in ``stage`` while ``writer`` is written first."""
    match clamped(stage, writer):
        case Stage.OFF:
            return WriteRoute(Side.SUPABASE)
        case Stage.COMPLETE:
            return WriteRoute(Side.ISOBASE)
        case Stage.LIVE:
            return WriteRoute(writer, carries=True, falls_back=True)
        case Stage.DUAL_WRITE | Stage.SHADOW_READ | Stage.RAMP_DOWN:
            return WriteRoute(writer, carries=True)
