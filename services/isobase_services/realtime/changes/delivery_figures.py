"""What the delivery of row changes counts and how long its stages take, for ``/metrics``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["DeliveryFigures", "Stage"]

Stage: TypeAlias = Literal["moment", "filters", "policies", "values", "send"]


class DeliveryFigures:
    """The figures of one process, in ``registry``; without one they are counted and shown nowhere."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self._rows = Counter(
            "isobase_realtime_changes_rows", "Row changes of tables that somebody listens to", registry=registry
        )
        self._messages = Counter(
            "isobase_realtime_changes_messages", "Row changes given to sockets, each receiver counts", registry=registry
        )
        self._questions = Counter(
            "isobase_realtime_changes_policy_questions",
            "Callers asked about rows of a table, because only PostgreSQL could judge",
            registry=registry,
        )
        self._failures = Counter(
            "isobase_realtime_changes_policy_failures", "Statements of policies that failed", registry=registry
        )
        self._stages = Histogram(
            "isobase_realtime_changes_stage_seconds",
            "What a batch of row changes takes: moment (transactions visible, facts current), filters, policies (row-level"
            " security), values, send",
            ("stage",),
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
            registry=registry,
        )

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add what the block takes to a stage, also when it raises."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(stage).observe(time.perf_counter() - began_s)

    def delivered(self, rows: int, messages: int) -> None:
        """A batch of so many rows gave so many messages."""
        self._rows.inc(rows)
        self._messages.inc(messages)

    def asked(self, questions: int) -> None:
        """So many callers were asked about rows."""
        self._questions.inc(questions)

    def failed(self) -> None:
        """A statement of policies failed."""
        self._failures.inc()
