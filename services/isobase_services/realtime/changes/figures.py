"""What row changes count, for ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["ChangeFigures"]


class ChangeFigures:
    """The figures of one process's intake, in ``registry``; without one they are counted and shown nowhere."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self._leads = Gauge(
            "isobase_realtime_changes_leader", "1 while this process reads the database's log", registry=registry
        )
        self._takeovers = Counter(
            "isobase_realtime_changes_leads", "Times that this process began to read the log", registry=registry
        )
        self._lag = Gauge(
            "isobase_realtime_changes_slot_lag_bytes",
            "What the slot holds back of the server's log; set by the leader",
            registry=registry,
        )
        self._ring_bytes = Gauge("isobase_realtime_changes_kept_bytes", "Memory of the kept changes", registry=registry)
        self._ring_slices = Gauge(
            "isobase_realtime_changes_kept_slices", "Kept transactions, large ones in several slices", registry=registry
        )
        self._lost = Counter(
            "isobase_realtime_changes_gaps", "Times that changes may have been missed", registry=registry
        )
        self._slots_dropped = Counter(
            "isobase_realtime_changes_slots_dropped",
            "Slots given up: outgrown (held back too much), unreadable (ended at one place again and again)",
            ("reason",),
            registry=registry,
        )
        self._replays = Counter(
            "isobase_realtime_changes_replays",
            "Subscriptions that asked for what they missed, by outcome: replayed, too_old, invalid",
            ("outcome",),
            registry=registry,
        )

    def leads(self, *, is_leader: bool) -> None:
        """Whether this process reads the log; each time it begins is counted."""
        self._leads.set(int(is_leader))
        if is_leader:
            self._takeovers.inc()
        else:
            self._lag.set(0)

    def lag(self, size_bytes: int) -> None:
        """The slot holds back so much."""
        self._lag.set(size_bytes)

    def ring(self, size_bytes: int, slices: int) -> None:
        """So much is kept."""
        self._ring_bytes.set(size_bytes)
        self._ring_slices.set(slices)

    def lost(self) -> None:
        """Something may be missing."""
        self._lost.inc()

    def slot_dropped(self, reason: str) -> None:
        """A slot was given up: ``outgrown`` or ``unreadable``."""
        self._slots_dropped.labels(reason).inc()

    def replay(self, outcome: str) -> None:
        """A client asked for what it missed."""
        self._replays.labels(outcome).inc()
