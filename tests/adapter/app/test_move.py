"""The sample app moves while its users write: every acknowledged write is on the side that must have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from isobase_adapter.stages import Stage
from tests.adapter.app.chaos import CARRIED
from tests.adapter.app.move import Running, outbox_lines
from tests.adapter.app.operating import Mover
from tests.adapter.pair import Pair

ALL_WELL = {"ready", "metrics", "ended", "paused"}


@pytest.mark.timeout(900)
async def test_twenty_users_move_to_live_and_back_and_no_call_fails(clean_pair: Pair, tmp_path: Path) -> None:
    async with Mover(clean_pair, "table:*") as mover:
        await mover.set(Stage.DUAL_WRITE, reason="the move begins")
        with Running(clean_pair, tmp_path, users=20, processes=2) as app:
            for stage in (Stage.SHADOW_READ, Stage.RAMP_DOWN, Stage.DUAL_WRITE):
                app.wait_for(60)
                while await mover.step_towards(stage):
                    app.wait_for(10)
            app.wait_for(30)
        drained = await mover.drain(100)
    report = app.report()
    print(report.acknowledged, drained, mover.held_up_s)
    assert report.failed == []
    assert report.notes.keys() <= ALL_WELL, report.notes
    assert app.lost("supabase", "isobase") == []
    assert outbox_lines(clean_pair) == []
    assert clean_pair.differing(CARRIED) == {}
