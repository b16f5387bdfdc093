"""The whole move, by the operator's commands, while twenty users write rows, call functions, sign up and in, upload and talk.

About two minutes each, so by hand and by night: ``make adapter-move``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adapter.app.commands import SyncProcess, migrate
from tests.adapter.app.listening import unheard
from tests.adapter.app.move import Running, outbox_lines
from tests.adapter.pair import Pair

KINDS = ("rows", "functions", "users", "objects", "messages")
ALL_WELL = {"ready", "metrics", "ended", "paused", "listens", "heard"}
FACTS = int(os.environ.get("ISOBASE_ADAPTER_MOVE_FACTS", "0"))
"""So many facts are acknowledged in each stage."""
USERS = int(os.environ.get("ISOBASE_ADAPTER_MOVE_USERS", "20"))
"""Fewer where a machine cannot check twenty passwords within the client's five seconds."""

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not FACTS, reason="two minutes each: make adapter-move runs it"),
]


def _moved(pair: Pair, folder: Path, *acts: Callable[[], object]) -> Running:
    """Move to ``ramp_down``, then do ``acts``, while the app writes; gives the app, ended."""
    with Running(pair, folder, users=USERS, processes=3, pause_s=1.0, kinds=KINDS) as app:
        app.wait_for(FACTS)
        migrate(pair, "flags", "set", "*", "dual_write")
        app.wait_for(FACTS)
        migrate(pair, "copy", "--step", "users", "--step", "rows", "--step", "objects")
        with SyncProcess(pair, folder):
            app.wait_for(FACTS)
            migrate(pair, "flags", "set", "*", "shadow_read")
            app.wait_for(FACTS)
            migrate(pair, "verify")
            migrate(pair, "cutover", "*", "--calls", "5", "--hours", "1")
            app.wait_for(FACTS)
            migrate(pair, "flags", "set", "*", "ramp_down")
            app.wait_for(FACTS)
            for act in acts[:-1]:
                act()
                app.wait_for(FACTS)
            # Both sides are still written: they are equal once nothing is on its way.
            app.pause()
            migrate(pair, "drain")
            migrate(pair, "verify", "--objects", "bytes")
            assert pair.differing() == {}
            app.resume()
        acts[-1]()
        app.wait_for(FACTS)
    report = app.report()
    assert report.failed == []
    assert report.notes.keys() <= ALL_WELL, report.notes
    assert outbox_lines(pair) == []
    assert len(report.notes["listens"]) == 3
    assert unheard(report.notes, report.said, report.orders) == []
    print(report.acknowledged, "facts acknowledged:", *sorted(report.kinds().items()))
    print(len(report.said), "messages said,", len(report.notes["heard"]), "messages and orders heard")
    return app


def test_twenty_users_move_through_every_stage_to_complete(clean_pair: Pair, tmp_path: Path) -> None:
    app = _moved(clean_pair, tmp_path, lambda: migrate(clean_pair, "flags", "set", "*", "complete"))
    assert app.lost("isobase") == []


def test_twenty_users_move_to_ramp_down_and_all_the_way_back(clean_pair: Pair, tmp_path: Path) -> None:
    back = [lambda: migrate(clean_pair, "rollback", "*")] * 4
    app = _moved(clean_pair, tmp_path, *back)
    assert app.lost("supabase") == []
    assert {flag["stage"] for flag in migrate(clean_pair, "flags", "list")["flags"]} == {"off"}
