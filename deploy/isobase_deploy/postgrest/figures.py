"""PostgREST's metrics by their names, summed over the workers.

Each worker writes its figures into a piece of memory that all of them share; whoever is asked adds them up. A worker that
takes the place of another goes on from what that one had counted, so that no sum ever falls.
Source: PostgREST v14 docs, references/observability (Metrics), and ``Metrics.hs``.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
from collections.abc import Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from isobase_platform.runtime import Platform
from isobase_platform.tokens import TokenVerifier
from isobase_services.database.cache_keeper import CacheKeeper

__all__ = ["Figures", "SharedFigures"]

WRITE_PERIOD_S = 1.0
"""How old a worker's figures may be when another one is asked for the sum."""

_COUNTED = ("loads", "failed_loads", "timeouts", "lookups", "hits", "evictions")
_MEASURED = ("load_s", "free", "waiting")
_SLOT = struct.Struct(f"{len(_COUNTED) + len(_MEASURED)}d")


class SharedFigures:
    """The memory of ``workers`` processes. Made before they are, and theirs by being copied with them."""

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, workers * _SLOT.size)
        self.workers = workers

    def read(self, worker: int) -> tuple[float, ...]:
        """What the worker wrote last: counts, then measures."""
        return _SLOT.unpack_from(self._memory, worker * _SLOT.size)

    def write(self, worker: int, figures: Sequence[float]) -> None:
        """Put the worker's figures there."""
        _SLOT.pack_into(self._memory, worker * _SLOT.size, *figures)

    def sums(self) -> dict[str, float]:
        """The sum over all workers of everything but the time of the last load, of which it is the longest."""
        rows = [self.read(worker) for worker in range(self.workers)]
        columns = dict(zip((*_COUNTED, *_MEASURED), zip(*rows, strict=True), strict=True))
        return {name: max(column) if name == "load_s" else sum(column) for name, column in columns.items()}


class Figures(Collector):
    """The figures of one worker, its share in ``shared``, and the metrics of all."""

    def __init__(self, platform: Platform, keeper: CacheKeeper, shared: SharedFigures, worker: int) -> None:
        self._platform = platform
        self._keeper = keeper
        self._shared = shared
        self._worker = worker
        self._before = shared.read(worker)[: len(_COUNTED)]
        self._verified = (0.0, 0.0, 0.0)
        self._verifier = keeper.authenticator.verifier

    async def keep_written(self) -> None:
        """Write the figures every ``WRITE_PERIOD_S`` until cancelled."""
        while True:
            self._write()
            await asyncio.sleep(WRITE_PERIOD_S)

    def collect(self) -> list[Metric]:
        """The metrics, summed over all workers."""
        self._write()
        sums = self._shared.sums()
        loads = CounterMetricFamily(
            "pgrst_schema_cache_loads", "The total number of times the schema cache was loaded", labels=["status"]
        )
        loads.add_metric(["SUCCESS"], sums["loads"])
        loads.add_metric(["FAIL"], sums["failed_loads"])
        size = self._platform.settings.database.pool_max_size * self._shared.workers
        return [
            loads,
            GaugeMetricFamily(
                "pgrst_schema_cache_query_time_seconds",
                "The query time in seconds of the last schema cache load",
                sums["load_s"],
            ),
            GaugeMetricFamily("pgrst_db_pool_max", "Max pool connections", size),
            GaugeMetricFamily("pgrst_db_pool_available", "Available connections in the pool", sums["free"]),
            GaugeMetricFamily(
                "pgrst_db_pool_waiting", "Requests waiting to acquire a pool connection", sums["waiting"]
            ),
            CounterMetricFamily(
                "pgrst_db_pool_timeouts", "The total number of pool connection timeouts", sums["timeouts"]
            ),
            CounterMetricFamily("pgrst_jwt_cache_requests", "The total number of JWT cache lookups", sums["lookups"]),
            CounterMetricFamily("pgrst_jwt_cache_hits", "The total number of JWT cache hits", sums["hits"]),
            CounterMetricFamily(
                "pgrst_jwt_cache_evictions", "The total number of JWT cache evictions", sums["evictions"]
            ),
        ]

    def _write(self) -> None:
        door, loads = self._platform.door, self._keeper.counts
        waiting, timeouts = door.pool_waits
        counted = (loads.succeeded, loads.failed, timeouts, *self._verifications())
        totals = [before + now for before, now in zip(self._before, counted, strict=True)]
        self._shared.write(self._worker, [*totals, loads.last_s, door.pool_sizes[1], waiting])

    def _verifications(self) -> tuple[float, float, float]:
        """Lookups, hits and evictions of this verifier and of those before it: new settings bring a new one."""
        verifier = self._keeper.authenticator.verifier
        if verifier is not self._verifier and self._verifier is not None:
            self._verified = self._with(self._verifier)
        self._verifier = verifier
        return self._verified if verifier is None else self._with(verifier)

    def _with(self, verifier: TokenVerifier) -> tuple[float, float, float]:
        lookups, hits, evictions = self._verified
        return lookups + verifier.lookups, hits + verifier.hits, evictions + verifier.evictions
