"""What the cluster counts, for ``/metrics``. Neighbour: ``cluster`` calls it; it knows nothing of the bus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["ClusterFigures"]


class ClusterFigures:
    """The counters of one node, in ``registry``; without one they are counted and shown nowhere."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry if registry is not None else CollectorRegistry()
        self._peers = Gauge(
            "isobase_realtime_peers", "Other realtime processes of the project that live", registry=registry
        )
        self._bus_up = Gauge(
            "isobase_realtime_bus_up", "1 while the bus between realtime processes takes messages", registry=registry
        )
        self._messages = Counter(
            "isobase_realtime_bus_messages",
            "Messages between realtime processes, by channel and what became of them: sent, received, dropped",
            ("channel", "outcome"),
            registry=registry,
        )
        self._gaps = Counter(
            "isobase_realtime_bus_gaps", "Times that messages of another process were found missing", registry=registry
        )
        self._unreadable = Counter(
            "isobase_realtime_bus_unreadable",
            "Envelopes that no process of this project and version sealed",
            registry=registry,
        )

        self._elsewhere = Gauge(
            "isobase_realtime_presence_elsewhere",
            "Members tracked by other processes, as known here",
            registry=registry,
        )
        self._left_out = Gauge(
            "isobase_realtime_presence_left_out",
            "Times that a member of another process was not taken, because realtime.cluster.max_presence_entries are there",
            registry=registry,
        )

    def peers(self, count: int) -> None:
        """So many other nodes live."""
        self._peers.set(count)

    def bus_is_up(self, is_up: bool) -> None:
        """Whether the bus takes messages."""
        self._bus_up.set(int(is_up))

    def sent(self, channel: str, count: int) -> None:
        """The bus took ``count`` messages."""
        self._messages.labels(channel, "sent").inc(count)

    def received(self, channel: str, count: int) -> None:
        """``count`` messages of a peer came."""
        self._messages.labels(channel, "received").inc(count)

    def dropped(self, channel: str, count: int) -> None:
        """``count`` messages were not sent: the bus is away, or too much waits for it."""
        self._messages.labels(channel, "dropped").inc(count)

    def elsewhere(self, count: int, left_out: int) -> None:
        """So many members of other processes are known, and so many times one was left out."""
        self._elsewhere.set(count)
        self._left_out.set(left_out)

    def gap(self) -> None:
        """Messages of a peer are missing."""
        self._gaps.inc()

    def unreadable(self) -> None:
        """An envelope could not be opened."""
        self._unreadable.inc()
