"""Whatever is killed or cut while the app writes: no acknowledged write is lost, and both sides become equal.

``make chaos-adapter RUNS=200 FIRST_SEED=1`` runs it longer.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from isobase_adapter.stages import Stage
from tests.adapter.app.chaos import CALL_TIMEOUT_S, LIMITS, SEND_WITHIN_S, Chaos
from tests.adapter.app.move import Running
from tests.adapter.app.operating import Mover
from tests.adapter.pair import Pair, proxied

RUNS = int(os.environ.get("ISOBASE_ADAPTER_CHAOS_RUNS", "20"))
FIRST_SEED = int(os.environ.get("ISOBASE_ADAPTER_CHAOS_FIRST_SEED", "1"))
STAGES = (Stage.DUAL_WRITE, Stage.SHADOW_READ, Stage.LIVE, Stage.RAMP_DOWN)
APP: dict[str, Any] = {
    "users": 6,
    "processes": 2,
    "pause_s": 0.05,
    "timeout_s": CALL_TIMEOUT_S,
    "kinds": ("rows", "functions", "people", "objects"),
    "send_within_s": SEND_WITHIN_S,
    "adopt_every_s": 0.5,
}


@pytest.mark.fault
@pytest.mark.timeout(max(600, RUNS * 120))
async def test_no_acknowledged_write_is_lost_whatever_dies(killable_pair: Pair, tmp_path: Path) -> None:
    seeds = list(range(FIRST_SEED, FIRST_SEED + RUNS))
    counts: Counter[str] = Counter()
    await _run(seeds, killable_pair, tmp_path, counts)
    print("\n".join(f"{count:5} {what}" for what, count in sorted(counts.items())))
    assert sum(count for what, count in counts.items() if what.endswith("acknowledged")) > RUNS


async def _run(seeds: list[int], pair: Pair, folder: Path, counts: Counter[str]) -> None:
    """Run seeds, one after the other."""
    spool_dir = folder / "spool"
    settings = {"handover_timeout_s": 5.0, "second_write_timeout_s": 2.0, "spool_dir": str(spool_dir)}
    async with Mover(pair, "*", limits=LIMITS, spool_dir=spool_dir, heard_s=0.2) as mover:
        await mover.set(Stage.DUAL_WRITE)
        with (
            proxied(pair) as proxies,
            Running(proxies.pair, folder, settings=settings, **APP) as app,
            Chaos(pair, proxies, app, mover, stages=STAGES, spool_dir=spool_dir, counts=counts) as chaos,
        ):
            for seed in seeds:
                try:
                    await chaos.run(seed)
                finally:
                    print(app.report().acknowledged, "acknowledged;", "; ".join(chaos.told), flush=True)
            report = app.report()
            counts.update(report.kinds())
        assert "amiss" not in report.notes, report.notes["amiss"]
        assert "stale" not in report.notes, report.notes["stale"]
