"""Realtime's sockets, channels and deliveries in ``/metrics``: plain counters of the hub, read when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from isobase_services.realtime.session.hub import Hub

__all__ = ["HubCollector"]

_PREFIX = "isobase_realtime_"


class HubCollector(Collector):
    """The figures of one process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def describe(self) -> Iterator[Metric]:
        """The names, without asking anything; called when it is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The figures of now."""
        hub, counters = self._hub, self._hub.counters
        connections = list(hub.connections)
        for name, text, value in (
            ("sockets", "Open sockets", len(connections)),
            ("users", "Open sockets that have joined a channel", hub.user_count),
            ("channels", "Channels of all sockets", sum(len(connection.channels) for connection in connections)),
            ("topics", "Topics with a member in this process", len(hub.topics)),
            ("waiting_bytes", "What waits for sockets that read slowly", sum(c.outbox.size_bytes for c in connections)),
            ("waiting_writes", "Messages of fan-out that are not written yet", hub.fan_out.waiting_writes),
        ):
            yield GaugeMetricFamily(_PREFIX + name, text, value)
        for name, text, count in (
            ("sockets_opened", "Sockets accepted", counters.sockets),
            ("joins", "Joins asked for", counters.joins),
            ("messages_received", "Messages of clients", counters.received),
            ("deliveries", "Broadcasts and presence, one for each receiver", counters.deliveries),
            ("delivered_bytes", "Their size on the wire", counters.delivered_bytes),
        ):
            yield CounterMetricFamily(_PREFIX + name, text, count)
        dropped = CounterMetricFamily(_PREFIX + "dropped", "Messages that a slow socket did not get", labels=("kind",))
        for kind, count in counters.dropped.items():
            dropped.add_metric((kind,), count)
        yield dropped
        closed = CounterMetricFamily(_PREFIX + "closed", "Sockets that the server closed", labels=("code",))
        for code, count in counters.closed.items():
            closed.add_metric((str(code),), count)
        yield closed
