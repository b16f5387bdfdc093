"""Flags for the client's tests, set as the tables hold them, and seen by the client before the test goes on."""

from __future__ import annotations

import time
from typing import Any

from isobase_adapter.settings import MigrationSettings
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, writer_of
from tests.adapter.pair import Pair, SideStack

__all__ = ["WAIT_S", "note", "set_stage", "settings_of", "wait_for_stage"]

WAIT_S = 60.0


def settings_of(pair: Pair, **more: Any) -> MigrationSettings:
    """The settings of an app in the middle of a move."""
    return MigrationSettings.from_environment(
        pair.environment(), **{"fallback_timeout_s": WAIT_S, "second_write_timeout_s": WAIT_S, **more}
    )


def set_stage(
    pair: Pair, pattern: str, stage: Stage, *, writer: Side | None = None, share_percent: float = 100
) -> None:
    """Put a pattern into a stage, whatever it was in before; its writer is the stage's unless ``writer`` says else."""
    before = list(Stage)[max(list(Stage).index(stage) - 1, 0)]
    pair.isobase.query(
        "insert into isobase.writers (pattern, side) values (%s, %s)"
        " on conflict (pattern) do update set side = excluded.side, epoch = isobase.writers.epoch + 1",
        pattern,
        str(writer or writer_of(stage)),
    )
    pair.isobase.query(
        "insert into isobase.flags (pattern, stage, before, share_percent) values (%s, %s, %s, %s) on conflict (pattern)"
        " do update set stage = excluded.stage, before = excluded.before, share_percent = excluded.share_percent",
        pattern,
        str(stage),
        str(before),
        share_percent,
    )


def wait_for_stage(client: Any, capability: str, stage: Stage, user: str | None = None) -> None:
    """Wait until the client acts upon it."""
    deadline = time.monotonic() + WAIT_S
    while client.migration.stage(capability, user) is not stage:
        assert time.monotonic() < deadline, f"{capability} is still {client.migration.stage(capability, user)}"
        time.sleep(0.02)


def note(side: SideStack, title: str, owner: str) -> int:
    """Write a note at one side, as nobody but its database does."""
    (number,) = side.query("insert into public.notes (title, owner_id) values (%s, %s) returning id", title, owner)[0]
    return int(number)
