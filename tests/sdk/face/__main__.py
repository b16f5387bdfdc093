"""Print every difference from supabase-py's face: ``python -m tests.sdk.face [PACKAGE ...]`` (default: all)."""

from __future__ import annotations

import sys

from .comparison import DIFFERENCES_PAGE, UPSTREAM, differences, listed, row_of


def main() -> None:
    """Print one line per difference, marked where the page lists it, and the counts."""
    rows = listed() if DIFFERENCES_PAGE.is_file() else []
    for package in sys.argv[1:] or UPSTREAM:
        found = differences(package)
        unlisted = [difference for difference in found if row_of(difference, rows) is None]
        for difference in found:
            print("  listed  " if row_of(difference, rows) else "  UNLISTED", difference.place, difference.what)
        print(f"{package}: {len(found)} differences, {len(unlisted)} of them not listed in {DIFFERENCES_PAGE.name}")


main()
