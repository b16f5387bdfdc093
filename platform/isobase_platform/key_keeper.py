"""Brings the signing keys of the database to a running process, and keeps them fresh.

A change is told over the bus; because a bus may lose a message, the table is also looked at now and then. A request whose
token names a key that nobody here has heard of makes the keeper look before the request goes on (``recognise``): then a
key may sign in one process in the moment in which it is put into use by another, and no request fails.
Neighbours: ``keys`` (what is believed), ``key_store`` (the rows), ``http.edge`` (asks for keys that are not known).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from isobase_platform.errors import ConfigurationError, IsobaseError, Unavailable
from isobase_platform.key_store import add_pair_for_simple_face, held_keys, read_keys
from isobase_platform.keys import HeldKey, KeyRing, generate_jwk

if TYPE_CHECKING:
    from isobase_platform.bus import Bus, Subscription
    from isobase_platform.pool import Pools

__all__ = ["CHANNEL", "KeyKeeper"]

CHANNEL = "signing_keys"
"""The bus channel on which a change of the keys is told; the message is empty."""
LOOK_INTERVAL_S = 300.0
"""How often the table is looked at although nothing was told."""
LOOK_INTERVAL_WITHOUT_BUS_S = 10.0
MIN_LOOK_INTERVAL_S = 1.0
"""Unknown key ids, which anybody can make up, cause no more looks than one in this time; a request waits for the next."""
MAX_REMEMBERED_HEADERS = 1000
MAX_HEADER_BYTES = 1024
_BEARER_BYTES = len("Bearer ")

_log = logging.getLogger("isobase.keys")


class KeyKeeper:
    """One per process. ``secret``: the project's, under which private parts are sealed."""

    def __init__(self, ring: KeyRing, secret: str, pools: Pools, bus: Bus) -> None:
        self._ring = ring
        self._secret = secret
        self._pools = pools
        self._bus = bus
        self._held: dict[str, HeldKey] = {}
        self._loading = asyncio.Lock()
        self._next_look: asyncio.Task[None] | None = None
        self._looked_at_s = float("-inf")
        self._subscription: Subscription | None = None
        self._has_bus = True
        self._watching: asyncio.Task[None] | None = None
        # JWT headers, still encoded, whose key needs no look: every token of one key begins with the same.
        self._heard_of: set[bytes] = set()

    async def start(self) -> None:
        """Load the keys and keep them fresh.

        Raises what makes them unusable: ``ConfigurationError``, and ``Unavailable`` for a database that is away.
        """
        await self.look()
        await self._listen()
        # What changed between the look and the subscription was told to nobody.
        await self.look()
        self._watching = asyncio.create_task(self._watch(), name="signing keys")

    async def _listen(self) -> None:
        """Subscribe to changes. A bus that is away keeps no process from starting: the table is looked at more often then."""
        try:
            self._subscription = await self._bus.subscribe(CHANNEL, self._told, on_reconnect=self._look_quietly)
        except ConfigurationError:
            # Behind a pooler that passes no LISTEN, without a Redis: there is no bus to wait for.
            self._has_bus = False
        except Unavailable:
            _log.warning("the bus is away: changes of the signing keys are looked for until it is back")

    @property
    def hears_changes(self) -> bool:
        """False while changes are told to nobody here, and only looked for."""
        return self._subscription is not None

    async def close(self) -> None:
        """End the background work."""
        if self._subscription is not None:
            await self._subscription.cancel()
        tasks = [task for task in (self._watching, self._next_look) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self) -> None:
        """Read the table and let the ring hold what is there.

        Raises ``Unavailable`` and ``DatabaseError``, and ``ConfigurationError`` for a key in use that cannot be opened.
        """
        async with self._loading:
            self._looked_at_s = asyncio.get_running_loop().time()
            async with self._pools.acquire(None) as connection:
                stored = await read_keys(connection)
            held = held_keys(stored, self._secret, self._held)
            self._held = {one.kid: one for one in held}
            if self._ring.hold(held):
                self._heard_of.clear()
                in_use = self._ring.signing_key
                _log.info("signing keys changed", extra={"keys": len(held), "signs": in_use.kid or in_use.algorithm})

    def unknown_key(self, authorization: bytes) -> Awaitable[None] | None:
        """What to await before the bearer token of a header is verified, where it names a key that may be new; else None.

        Called for every request with a token, hence on its bytes, and cheap where such a token was seen before.
        """
        encoded = authorization[_BEARER_BYTES : authorization.find(b".")]
        if encoded in self._heard_of:
            return None
        if len(encoded) > MAX_HEADER_BYTES:
            return None
        kid = _kid_of(encoded)
        if kid is None or self._ring.knows(kid):
            self._remember(encoded)
            return None
        return self._recognise(encoded)

    async def _recognise(self, encoded: bytes) -> None:
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look_soon(), name="look for a signing key")
        # Another's wait must not end with this request, should its client go away.
        await asyncio.shield(self._next_look)
        # Also where the key is not ours: a key that is made later has another id.
        self._remember(encoded)

    def _remember(self, encoded: bytes) -> None:
        if len(self._heard_of) >= MAX_REMEMBERED_HEADERS:
            self._heard_of.clear()
        self._heard_of.add(encoded)

    async def _look_soon(self) -> None:
        wait_s = self._looked_at_s + MIN_LOOK_INTERVAL_S - asyncio.get_running_loop().time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        # Who comes from here on waits for another look: this one may be older than their key.
        self._next_look = None
        await self._look_quietly()

    async def _look_quietly(self) -> None:
        try:
            await self.look()
        except IsobaseError:
            # What is held stays good; the next look, or the next start, says it again.
            _log.exception("signing keys could not be read")

    async def _told(self, _message: bytes) -> None:
        await self._look_quietly()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S if self.hears_changes else LOOK_INTERVAL_WITHOUT_BUS_S)
            if self._subscription is None and self._has_bus:
                await self._listen()
            await self._look_quietly()

    async def need_pair(self, algorithm: str) -> None:
        """Make sure that there is a pair to sign for the simple face with, and make one of ``algorithm`` where there is none.

        ``HS256`` needs none. Costs nothing once it is there. Raises ``Unavailable`` and ``DatabaseError``.
        """
        if algorithm == "HS256" or self._has_pair():
            return
        await self.look()
        if self._has_pair():
            return
        jwk = await asyncio.to_thread(generate_jwk, algorithm)
        async with self._pools.acquire(None) as connection:
            await add_pair_for_simple_face(connection, jwk, self._secret)
        await self._bus.publish(CHANNEL, b"")
        await self.look()

    def _has_pair(self) -> bool:
        return self._ring.simple_key is not None


def _kid_of(encoded: bytes) -> str | None:
    """The ``kid`` of an encoded JWT header, None where there is none or this is no header."""
    try:
        header = json.loads(base64.urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    kid = header.get("kid") if isinstance(header, dict) else None
    return kid if isinstance(kid, str) else None
