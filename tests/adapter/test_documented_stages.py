"""The table of stages in docs/migration.md is the one that the code follows."""

from __future__ import annotations

from pathlib import Path

from isobase_adapter.stages import NEIGHBOURS, Stage, read_route, write_route, writer_of

PAGE = Path(__file__).parents[2] / "docs" / "migration.md"


def rows_of_the_page() -> dict[str, list[str]]:
    rows = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 6:
            rows[cells[0].strip("`")] = cells
    return rows


def test_the_documented_stages_are_those_of_the_code() -> None:
    rows = rows_of_the_page()
    assert list(rows) == [str(stage) for stage in Stage]
    for stage in Stage:
        _, neighbours, reads, first, then, fallback = rows[stage]
        writer = writer_of(stage)
        read, write = read_route(stage, writer), write_route(stage, writer)
        assert neighbours == ", ".join(f"`{other}`" for other in NEIGHBOURS[stage])
        assert reads == read.answers.title() + (
            f", compared with {read.answers.other.title()}" if read.compares else ""
        )
        assert first == write.first.title()
        assert then == (write.first.other.title() if write.carries else "")
        assert bool(fallback) == read.falls_back == write.falls_back
