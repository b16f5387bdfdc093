"""Locks of one host, as files beside the control file: the fence of a side, and who hands a pattern over.

They stand in for advisory locks where no database is shared. A process that is killed loses its locks with its files.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

from isobase_adapter.carrying import CarriesEdited, EditUnsupported
from isobase_adapter.contracts import Carried, Carrier, Fence
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing

__all__ = ["FencedCarrier", "HostLocks"]

POLL_S = 0.01
LANDING_S = 5.0
"""A request that its sender gave up may still be carried out for this long."""


class HostLocks:
    """The locks beside ``control_file``."""

    def __init__(self, control_file: Path) -> None:
        """Take the control file, whose folder holds them."""
        self._file = control_file

    @contextmanager
    def alone(self, name: str) -> Iterator[bool]:
        """Hold a lock where nobody has it; gives whether it is held."""
        number = self._opened(name)
        is_held = _try(number, fcntl.LOCK_EX)
        try:
            yield is_held
        finally:
            _release(number)

    @asynccontextmanager
    async def shared(self, target: Side) -> AsyncIterator[None]:
        """Hold a side's fence with others, as carriers to it do.

        Where the end of a request was not heard it is held for ``LANDING_S`` more: it may still be on its way.
        """
        gate, fence = self._opened(f"gate-{target}"), self._opened(f"fence-{target}")
        try:
            # Whoever waits for the fence alone holds the gate: no newcomer passes him.
            await _acquire(gate, fcntl.LOCK_SH, None)
            await _acquire(fence, fcntl.LOCK_SH, None)
        except BaseException:
            _release(fence)
            raise
        finally:
            _release(gate)
        is_clear = True
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise
        except (asyncio.CancelledError, OSError, httpx.TransportError):
            is_clear = False
            raise
        finally:
            if is_clear:
                _release(fence)
            else:
                asyncio.get_running_loop().call_later(LANDING_S, _release, fence)

    @asynccontextmanager
    async def fencing(self, target: Side, timeout_s: float) -> AsyncIterator[None]:
        """Hold a side's fence alone: no carrier to it is in the middle, and none can begin. Raises ``TimeoutError``."""
        gate, fence = self._opened(f"gate-{target}"), self._opened(f"fence-{target}")
        try:
            give_up_at = time.monotonic() + timeout_s
            await _acquire(gate, fcntl.LOCK_EX, give_up_at)
            await _acquire(fence, fcntl.LOCK_EX, give_up_at)
            yield
        finally:
            _release(fence)
            _release(gate)

    def _opened(self, name: str) -> int:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(self._file.with_name(f"{self._file.name}.{name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)


class FencedCarrier:
    """A ``Carrier`` that holds the target's fence while another one carries."""

    def __init__(self, carrier: Carrier, locks: HostLocks) -> None:
        """Take the carrier and the locks."""
        self._carrier, self._locks = carrier, locks

    async def carry(
        self,
        things: Sequence[Thing],
        target: Side,
        *,
        fence: Fence | None = None,
        expected: Mapping[Thing, str] | None = None,
    ) -> Carried:
        """Carry under the fence; it is checked once more before anything is read."""
        async with self._locks.shared(target):
            if fence is not None:
                await fence.check(None)
            return await self._carrier.carry(things, target, fence=fence, expected=expected)

    async def carry_edited(
        self,
        thing: Thing,
        target: Side,
        *,
        leave_out: Sequence[str],
        image: Mapping[str, Any] | None,
        fence: Fence | None,
    ) -> Carried:
        """Carry an edited row under the fence. Raises ``EditUnsupported``."""
        if not isinstance(self._carrier, CarriesEdited):
            raise EditUnsupported("rows are edited by SQL alone")
        async with self._locks.shared(target):
            return await self._carrier.carry_edited(thing, target, leave_out=leave_out, image=image, fence=fence)

    async def images(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, tuple[Any, str]]:
        """Read what ``side`` holds."""
        return await self._carrier.images(things, side)


async def _acquire(number: int, kind: int, give_up_at: float | None) -> None:
    while not _try(number, kind):
        if give_up_at is not None and time.monotonic() >= give_up_at:
            raise TimeoutError("carriers have not ended")
        await asyncio.sleep(POLL_S)


def _try(number: int, kind: int) -> bool:
    try:
        fcntl.flock(number, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _release(number: int) -> None:
    # Unlocked by name, not by closing alone: a forked child may hold the same open file.
    fcntl.flock(number, fcntl.LOCK_UN)
    os.close(number)
