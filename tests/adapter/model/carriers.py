"""What carries later: drainers, sweeps, the copy of rows from before."""

from __future__ import annotations

from collections.abc import Iterator

from tests.adapter.model.base import COPY, Base, Step
from tests.adapter.model.state import WHOLE, Carrier, I, Rule, State, side_of

__all__ = ["Carriers"]


class Carriers(Base):
    """The steps of the carriers."""

    def _carrier(self, state: State, number: int) -> Iterator[Step]:
        carrier = state.carriers[number]
        name = f"drainer {number}"
        if carrier.at == "idle":
            yield from self._take(state, number)
            return
        if state.bounds.crashes:
            yield f"{name} is killed", state.with_carrier(number, Carrier()).spending("crashes")
        has_item = any(item.id == carrier.item and item.target == carrier.target for item in state.items)
        if carrier.at == "taken":
            if not carrier.keys or carrier.keys[0] >= self.keys:
                yield f"{name} finds nothing to carry", self._carried(state, number)
                return
            key = carrier.keys[0]
            if not self.has(Rule.READ_UNDER_LOCK):
                if state.is_isobase_up:
                    read = state.row(1 - carrier.target, key)
                    yield f"{name} reads", state.with_carrier(number, carrier._replace(at="read", read=read))
            elif self._may_carry(state, key, carrier.target, carrier.epoch, has_item=has_item):
                read = state.row(1 - carrier.target, key)
                yield (
                    f"{name} locks and reads key {key}",
                    state.with_carrier(number, carrier._replace(at="locked", read=read)),
                )
            elif not self._may_carry(state, key, carrier.target, carrier.epoch, has_item=has_item, ignores_locks=True):
                yield f"{name} gives up", state.with_carrier(number, Carrier())
        elif carrier.at == "read":
            if self._may_carry(state, carrier.keys[0], carrier.target, carrier.epoch, has_item=has_item):
                yield f"{name} locks and writes", self._wrote(state, number)
            else:
                yield f"{name} gives up", state.with_carrier(number, Carrier())
        elif carrier.at == "locked":
            yield f"{name} writes key {carrier.keys[0]}", self._wrote(state, number)
        elif carrier.at == "done" and state.is_isobase_up:
            yield f"{name} forgets the item", self._carried(state, number)

    def _wrote(self, state: State, number: int) -> State:
        carrier = state.carriers[number]
        after = self._put(state, carrier.keys[0], carrier.target, carrier.read)
        rest = carrier.keys[1:]
        if rest:
            return after.with_carrier(number, carrier._replace(at="taken", keys=rest, read=()))
        if carrier.target == I:
            return self._carried(after, number)
        return after.with_carrier(number, carrier._replace(at="done", keys=(), read=()))

    def _carried(self, state: State, number: int) -> State:
        item = state.carriers[number].item
        after = state.with_carrier(number, Carrier())
        if item == COPY:
            return after._replace(is_filled=True)
        return self._without(after, item)

    def _take(self, state: State, number: int) -> Iterator[Step]:
        if not state.is_isobase_up:
            return
        held = {carrier.item for carrier in state.carriers if carrier.at != "idle"}
        for item in state.items:
            if item.is_intent and not item.is_expired:
                continue
            after = state
            if item.id in held:
                # The first that took it is paused for longer than its lease.
                if not state.bounds.pauses:
                    continue
                after = state.spending("pauses")
            keys = tuple(range(self.keys)) if item.key == WHOLE else (item.key,)
            taken = Carrier("taken", item.id, keys, item.target, state.epoch)
            yield f"drainer {number} takes the item of write {item.id}", after.with_carrier(number, taken)
        target = 1 - side_of(state.epoch)
        if state.bounds.sweeps:
            for key in range(self.keys):
                swept = Carrier("taken", -1, (key,), target, state.epoch)
                yield f"drainer {number} sweeps key {key}", state.with_carrier(number, swept).spending("sweeps")
        is_heard = self._have_heard(state)
        is_wanted = not state.is_filled and state.is_dual and COPY not in held
        if is_wanted and (is_heard or not self.has(Rule.ALL_HEARD)):
            copying = Carrier("taken", COPY, tuple(range(self.keys)), target, state.epoch)
            yield f"drainer {number} copies", state.with_carrier(number, copying)
