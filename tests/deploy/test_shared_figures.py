"""What workers tell of themselves in the memory that they share."""

from __future__ import annotations

from isobase_deploy.postgrest.figures import SharedFigures

WORKER = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.25, 7.0, 8.0)


def test_figures_of_workers_are_added_up() -> None:
    shared = SharedFigures(2)
    shared.write(1, WORKER)
    shared.write(0, [2 * figure for figure in WORKER])
    sums = shared.sums()
    assert (sums["loads"], sums["failed_loads"], sums["waiting"]) == (3.0, 6.0, 24.0)
    assert sums["load_s"] == 0.5, "the longest, not the sum"
    assert shared.read(1) == WORKER
