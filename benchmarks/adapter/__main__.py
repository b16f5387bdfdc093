"""``make bench-adapter``: prints the tables of benchmarks/README.md."""

from __future__ import annotations

import argparse
import statistics

from benchmarks.adapter.copying import measure_copy
from benchmarks.adapter.latency import measure_latency

GOAL = 0.8
OFF_GOAL_MS = 0.1


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("copy", "latency"), help="measure this part alone")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each table (default: 1,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way (default: 3)")
    parser.add_argument("--parallel", type=int, default=4, help="ranges at a time (default: 4)")
    parser.add_argument("--calls", type=int, default=500, help="calls of each kind, form and stage (default: 500)")
    given = parser.parse_args()
    if given.only != "latency":
        print_copy(given.rows, given.rounds, given.parallel)
    if given.only != "copy":
        print_latency(given.calls)


def print_latency(calls: int) -> None:
    """Print what a migration client adds to a call in each stage."""
    print("\n| stage | form | call | official p50, ms | migration p50, ms | added, ms |")
    print("|---|---|---|---|---|---|")
    for one in measure_latency(calls):
        official, moving = (1000 * statistics.median(times) for times in (one.official, one.moving))
        goal = f" (goal {OFF_GOAL_MS})" if one.stage == "off" else ""
        print(
            f"| {one.stage} | {one.form} | {one.call} | {official:.3f} | {moving:.3f} | {one.added_ms:+.3f}{goal} |",
            flush=True,
        )


def print_copy(rows: int, rounds: int, parallel: int) -> None:
    """Print the rates of copy and verify."""
    for one in measure_copy(rows, rounds, parallel):
        print(f"\n{one.table}: {one.rows:,} rows, {one.size_bytes / 1e6:.0f} MB\n")
        print("| way | seconds | MB/s | of psql piped into psql |")
        print("|---|---|---|---|")
        for way in one.seconds:
            base = "read both" if way in ("read both", "verify") else "psql | psql"
            share = one.median(base) / one.median(way)
            goal = f" (goal {GOAL})" if way.startswith("copy, one") else ""
            print(
                f"| {way.replace('|', chr(92) + '|')} | {one.median(way):.2f} | {one.rate(way):.0f} | {share:.2f}{goal} |"
            )


if __name__ == "__main__":
    main()
