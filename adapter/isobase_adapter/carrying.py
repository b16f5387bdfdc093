"""One carrier over the carriers of each kind of thing: rows, users, objects.

``Carriers`` is what the write protocol and the drainer talk to; each part of the adapter puts its carrier in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from isobase_adapter.contracts import Carried, Carrier, Fence
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind

__all__ = ["Carriers", "CarriesEdited", "EditUnsupported", "NoCarrier", "Unsettling"]


class NoCarrier(LookupError):
    """Nothing carries this kind of thing: its part of the adapter is not set up (a database URL or a key is missing)."""


class EditUnsupported(RuntimeError):
    """An operator's changes of a row cannot be carried: its carrier has no database."""


@runtime_checkable
class CarriesEdited(Protocol):
    """A carrier of rows that can be changed on the way."""

    async def carry_edited(
        self,
        thing: Thing,
        target: Side,
        *,
        leave_out: Sequence[str],
        image: Mapping[str, Any] | None,
        fence: Fence | None,
    ) -> Carried:
        """Make the row at ``target`` what it is at the other side, but for ``leave_out`` and ``image``."""
        ...


class Carriers:
    """A ``Carrier`` that hands each thing to the carrier of its kind.

    carriers: the carrier of each kind; several kinds may share one.
    """

    def __init__(self, carriers: Mapping[ThingKind, Carrier]) -> None:
        """Take the carriers."""
        self._carriers = dict(carriers)

    def has(self, kind: ThingKind) -> bool:
        """Whether things of this kind can be carried."""
        return kind in self._carriers

    async def carry(
        self,
        things: Sequence[Thing],
        target: Side,
        *,
        fence: Fence | None = None,
        expected: Mapping[Thing, str] | None = None,
    ) -> Carried:
        """Carry them, one carrier after the other; only a single one may settle the intent with what it writes."""
        changed, has_settled = 0, False
        groups = self._grouped(things)
        if len(groups) > 1 and fence is not None:
            fence = Unsettling(fence)
        for carrier, group in groups:
            carried = await carrier.carry(
                group,
                target,
                fence=fence,
                expected={thing: expected[thing] for thing in group if thing in expected} if expected else None,
            )
            changed += carried.changed
            has_settled = has_settled or carried.has_settled
        return Carried(changed, has_settled)

    async def carry_edited(
        self,
        thing: Thing,
        target: Side,
        *,
        leave_out: Sequence[str],
        image: Mapping[str, Any] | None,
        fence: Fence | None,
    ) -> Carried:
        """Carry a thing with an operator's changes. Raises ``EditUnsupported`` where its carrier cannot."""
        carrier: object = self._carriers.get(thing.kind)
        if not isinstance(carrier, CarriesEdited):
            raise EditUnsupported(f"a {thing.kind} is edited by SQL alone: set both database URLs")
        return await carrier.carry_edited(thing, target, leave_out=leave_out, image=image, fence=fence)

    async def images(self, things: Sequence[Thing], side: Side) -> Mapping[Thing, tuple[Any, str]]:
        """Read what ``side`` holds of them now."""
        images: dict[Thing, tuple[Any, str]] = {}
        for carrier, group in self._grouped(things):
            images.update(await carrier.images(group, side))
        return images

    def _grouped(self, things: Sequence[Thing]) -> list[tuple[Carrier, list[Thing]]]:
        groups: list[tuple[Carrier, list[Thing]]] = []
        for thing in dict.fromkeys(things):
            carrier = self._carriers.get(thing.kind)
            if carrier is None:
                raise NoCarrier(f"nothing carries a {thing.kind} of {thing.resource}")
            for known, group in groups:
                if known is carrier:
                    group.append(thing)
                    break
            else:
                groups.append((carrier, [thing]))
        return groups


class Unsettling:
    """A fence that only checks: of several transactions none may settle the intent before the last is done."""

    def __init__(self, fence: Fence) -> None:
        """Take the fence."""
        self._fence = fence

    @property
    def lock_number(self) -> int:
        """The fence's lock."""
        return self._fence.lock_number

    async def check(self, connection: Any | None) -> bool:
        """Check without settling."""
        await self._fence.check(None)
        return False
