"""Signs of life of one client: sent every interval, and a connection whose answer does not come is given up."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from isobase.realtime.types import PHOENIX_CHANNEL, ChannelEvents, RealtimeHeartbeatStatus, WebSocketLike
from isobase.realtime.wire import Frame

if TYPE_CHECKING:
    from isobase.realtime._async.socket import RealtimeSocket

__all__ = ["Heart", "HeartbeatCallback"]

logger = logging.getLogger("isobase.realtime")

Heartbeat = RealtimeHeartbeatStatus
HeartbeatCallback = Callable[[RealtimeHeartbeatStatus, float | None], Awaitable[None] | None]


class Heart:
    """The heartbeat that is under way, and who hears of it."""

    def __init__(self, socket: RealtimeSocket, callback: HeartbeatCallback | None) -> None:
        self.callback = callback
        self._socket = socket
        self._ref: str | None = None
        self._sent_at = 0.0
        self._answered: asyncio.Event | None = None

    async def send(self) -> None:
        """Send one now."""
        if not self._socket.is_connected:
            self.tell(Heartbeat.DISCONNECTED)
            return
        self._ref = self._socket._make_ref()
        self._sent_at = time.monotonic()
        self.tell(Heartbeat.SENT)
        await self._socket._transmit(Frame(PHOENIX_CHANNEL, ChannelEvents.heartbeat, {}, self._ref))

    async def beat(self, ws: WebSocketLike) -> None:
        """Send one every interval as long as ``ws`` is the connection; give it up when one is not answered in time."""
        socket = self._socket
        while socket._ws_connection is ws:
            began = time.monotonic()
            self._answered = asyncio.Event()
            try:
                async with asyncio.timeout(socket.timeout):
                    await self.send()
                    if socket._ws_connection is not ws:
                        return
                    await self._answered.wait()
            except TimeoutError:
                if socket._ws_connection is ws:
                    self.tell(Heartbeat.TIMEOUT)
                    socket._log("error", "the heartbeat was not answered: connecting again")
                    socket._give_up(ws, ConnectionError("the heartbeat was not answered"))
                return
            await socket._refresh_token()
            await asyncio.sleep(max(0.0, socket.hb_interval - (time.monotonic() - began)))

    def answered(self, frame: Frame) -> bool:
        """Take in a reply; False where it is none to a heartbeat."""
        if frame.ref is None or frame.ref != self._ref:
            return False
        self._ref = None
        if self._answered is not None:
            self._answered.set()
        status = Heartbeat.OK if frame.payload.get("status") == "ok" else Heartbeat.ERROR
        self.tell(status, time.monotonic() - self._sent_at)
        return True

    def lost(self) -> None:
        """Take in that the connection is gone."""
        self._ref = None
        self.tell(Heartbeat.DISCONNECTED)

    def tell(self, status: RealtimeHeartbeatStatus, latency: float | None = None) -> None:
        """Call the callback, if there is one."""
        if self.callback is None:
            return
        try:
            result = self.callback(status, latency)
            if inspect.isawaitable(result):
                self._socket._run_in_background(result)
        except Exception:  # it is the app's, and must not end the connection
            logger.exception("the heartbeat callback failed")
