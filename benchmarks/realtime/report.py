"""The tables of the report, printed line by line as they are measured."""

from __future__ import annotations

from benchmarks.realtime.orders import Counted, Latency

__all__ = ["heading", "latency_cells", "line", "verdict"]


def heading(title: str, *columns: str) -> None:
    """Begin a table."""
    print(f"\n| {' | '.join((title, *columns))} |\n{'|---' * (len(columns) + 1)}|", flush=True)


def line(*cells: str) -> None:
    """A line of a table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def verdict(value: float, goal: float, *, is_ceiling: bool = False, digits: int = 0) -> str:
    """A figure beside its goal; bold where it is reached. ``is_ceiling``: the goal is not to be exceeded."""
    is_reached = value <= goal if is_ceiling else value >= goal
    text = f"{value:,.{digits}f}"
    return f"{f'**{text}**' if is_reached else text} (goal {goal:,.{0 if goal >= 10 else digits}f})"


def latency_cells(found: Latency) -> tuple[str, str, str]:
    """p50, p95 and p99 in ms."""
    return f"{found.p50_ms:.1f}", f"{found.p95_ms:.1f}", f"{found.p99_ms:.1f}"


def missing(counted: Counted) -> str:
    """What is to be said about frames that did not come."""
    return "" if counted.is_complete else f" ({counted.received:,} of {counted.expected:,} came)"
