"""Realtime's composition root: builds the parts from the platform and gives them their order of start and end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from starlette.routing import Route, Router, WebSocketRoute

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError, Unavailable
from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.runtime import Platform
from isobase_platform.service import ApiKeyRule, Mount
from isobase_services.realtime.changes.catalog import Catalog
from isobase_services.realtime.changes.changelog import ChangeLog
from isobase_services.realtime.changes.delivery import Delivery
from isobase_services.realtime.changes.delivery_figures import DeliveryFigures
from isobase_services.realtime.changes.feed import RowChanges
from isobase_services.realtime.changes.figures import ChangeFigures
from isobase_services.realtime.changes.groups import Subscriptions
from isobase_services.realtime.changes.history import History
from isobase_services.realtime.changes.intake import Intake
from isobase_services.realtime.changes.messages import broadcast_of_row
from isobase_services.realtime.changes.pipeline import Pipeline
from isobase_services.realtime.changes.questions import Questions
from isobase_services.realtime.changes.relay import Relay
from isobase_services.realtime.changes.resume import Resumer
from isobase_services.realtime.changes.slot_keeper import SlotKeeper
from isobase_services.realtime.changes.slots import SlotChoice, SlotPolicy
from isobase_services.realtime.changes.snapshot import Moments
from isobase_services.realtime.changes.validation import Validator
from isobase_services.realtime.changes.visibility import Visibility
from isobase_services.realtime.cluster import Cluster, ClusterIdentity
from isobase_services.realtime.cluster.figures import ClusterFigures
from isobase_services.realtime.edge.broadcast import BroadcastEndpoints
from isobase_services.realtime.edge.errors import render_error
from isobase_services.realtime.edge.method import Only
from isobase_services.realtime.edge.openapi import OPENAPI
from isobase_services.realtime.edge.socket import SocketEndpoint
from isobase_services.realtime.metrics import HubCollector
from isobase_services.realtime.session.history import MessageHistory
from isobase_services.realtime.session.hub import Hub
from isobase_services.realtime.session.policies import ChannelPolicies
from isobase_services.realtime.simple.app import simple_app
from isobase_services.realtime.simple.desk import RoomDesk
from isobase_services.realtime.simple.openapi import OPENAPI as ROOMS_OPENAPI
from isobase_services.realtime.simple.rooms import Rooms

__all__ = ["RealtimeService"]

MESSAGES_PUBLICATION = "supabase_realtime_messages_publication"
PARTITIONS_INTERVAL_S = 3600.0
MIN_SLOT_SWEEP_INTERVAL_S = 5.0

_DATABASE_IDENTITY = """
select s.system_identifier || '-' || d.oid
from pg_catalog.pg_control_system() as s, pg_catalog.pg_database as d
where d.datname = pg_catalog.current_database()
"""

_log = logging.getLogger("isobase.realtime")


class RealtimeService:
    """See ``isobase_platform.service.Service``."""

    name = "realtime"
    features: tuple[str, ...] = ("realtime-replay", "rooms")

    def __init__(self, platform: Platform) -> None:
        settings = platform.settings.realtime
        self._platform = platform
        self._maintenance: list[asyncio.Task[None]] = []
        subscriptions = Subscriptions()
        catalog = Catalog(platform.pools, settings.publication)
        search_path = platform.settings.rest.extra_search_path
        delivery_figures = DeliveryFigures(platform.metrics.registry)
        self._moments = Moments(platform.settings)
        delivery = Delivery(
            subscriptions,
            catalog,
            moments=self._moments,
            questions=Questions(platform.door, search_path),
            visibility=Visibility(platform.door, search_path, delivery_figures),
            figures=delivery_figures,
        )
        self.cluster = Cluster(
            platform.bus,
            settings.cluster,
            ClusterIdentity(platform.settings.jwt_secret.get_secret_value(), self._cluster_scope),
            ClusterFigures(platform.metrics.registry),
        )
        change_figures = ChangeFigures(platform.metrics.registry)
        history = History(
            ChangeLog(max_age_s=settings.changes.retention_s, max_bytes=settings.changes.retention_bytes),
            Pipeline(catalog, wants=subscriptions.wants, deliver=delivery.deliver),
            self._broadcast_row,
            change_figures,
        )
        self._slots = SlotKeeper(
            platform.pools,
            platform.settings.dsn(None),
            (settings.publication, MESSAGES_PUBLICATION),
            SlotPolicy(
                SlotChoice(settings.changes.slot), settings.changes.max_lag_bytes, is_shared=settings.cluster.enabled
            ),
            change_figures,
        )
        intake = Intake(self._slots, catalog, history, Relay(self.cluster, history), change_figures)
        self.changes = RowChanges(
            subscriptions,
            Validator(catalog, platform.door, search_path),
            intake,
            Resumer(history, delivery, catalog, change_figures),
        )
        self.hub = Hub(
            settings=settings,
            verifier=platform.verifier,
            api_keys=platform.api_keys,
            policies=ChannelPolicies(platform.door),
            history=MessageHistory(platform.door),
            changes=self.changes,
            cluster=self.cluster,
        )
        platform.metrics.registry.register(HubCollector(self.hub))
        platform.keys.on_change(self.hub.confirm_tokens)
        simple: tuple[Mount, ...] = ()
        if settings.rooms.enabled:
            desk = RoomDesk(self.hub, Rooms(platform.door, settings.rooms), settings.rooms)
            self.hub.rooms = desk
            simple = (Mount("/realtime", simple_app(self.hub, desk), ApiKeyRule.NONE, takes_websockets=True),)
        socket = SocketEndpoint(self.hub)
        broadcast = BroadcastEndpoints(self.hub)
        routes = [
            # Upstream's own server calls it /socket/websocket; its gateway gives it the name that clients use.
            *(
                route
                for path in ("/websocket", "/socket/websocket")
                for route in (WebSocketRoute(path, socket), Route(path, Only("GET", socket)))
            ),
            Route("/api/ping", Only("GET", broadcast.ping)),
            Route("/api/broadcast", Only("POST", broadcast.batch)),
            Route("/api/broadcast/{topic_and_event:path}", Only("POST", broadcast.single)),
        ]
        app = ErrorBoundary(Router(routes, redirect_slashes=False), render_error)
        self.mounts: tuple[Mount, ...] = (
            Mount(
                "/realtime/v1",
                app,
                ApiKeyRule.NONE,
                serves_bare=True,
                cors_expose=("x-rate-rolling", "x-rate-limit", "x-rate-limit-remaining"),
                takes_websockets=True,
            ),
            *simple,
        )
        rooms = ROOMS_OPENAPI if settings.rooms.enabled else {}
        self.openapi: Mapping[str, Any] = {
            part: {**OPENAPI.get(part, {}), **rooms.get(part, {})} for part in ("paths", "schemas")
        }

    async def start(self) -> None:
        """Announce this process to the others, and begin the regular care for partitions and slots.

        Everything else starts when it is needed.
        """
        await self.cluster.start()
        self._maintenance = [
            asyncio.create_task(self._keep_partitions(), name="realtime partitions"),
            asyncio.create_task(self._sweep_slots(), name="realtime slots"),
        ]

    async def drain(self, timeout_s: float) -> None:
        """Close every socket with 1012, then stop the stream and the tasks; at most ``timeout_s`` seconds."""
        for task in self._maintenance:
            task.cancel()
        await asyncio.gather(*self._maintenance, return_exceptions=True)
        await self.hub.drain(timeout_s)
        await self.changes.close()
        await self._moments.close()
        await self.cluster.close()

    async def _keep_partitions(self) -> None:
        """Make tomorrow's partitions and drop those whose messages are over their time."""
        while True:
            try:
                # Not as the owner: the role of migrations may replace this function, and would then have the owner's rights.
                async with self._platform.door.transaction(Caller.service()) as connection:
                    await connection.execute("select realtime.ensure_partitions()")
            except (Unavailable, DatabaseError) as error:
                _log.warning("the partitions of realtime.messages could not be kept", extra={"reason": error.message})
            await asyncio.sleep(PARTITIONS_INTERVAL_S)

    async def _sweep_slots(self) -> None:
        """Drop what processes that died left behind, once nobody has asked for it for as long as changes are kept."""
        settings = self._platform.settings.realtime
        if not settings.cluster.enabled:
            return
        while True:
            await asyncio.sleep(max(settings.changes.retention_s, MIN_SLOT_SWEEP_INTERVAL_S))
            if self.changes.intake.is_idle:
                await self._slots.sweep()

    async def _cluster_scope(self) -> str:
        """What tells this project's processes from those of others on the same Redis: the database that they serve."""
        async with self._platform.pools.acquire(None) as connection:
            return str(await connection.fetchval(_DATABASE_IDENTITY))

    def _broadcast_row(self, row: dict[str, str | None]) -> None:
        """A message sent from SQL. Every process reads the log, so it goes to this one's members only."""
        broadcast = broadcast_of_row(row)
        if broadcast is not None:
            if self.hub.too_large(broadcast[1]):
                # As upstream: the row is there to be read, but no socket gets it.
                _log.warning(
                    "a message of realtime.messages is too large to be sent", extra={"topic": broadcast[0].name}
                )
                return
            if self.hub.rooms is not None:
                self.hub.rooms.watch(*broadcast, row)
            self.hub.publish_here(*broadcast)
