"""What changes under the writes: handovers, failovers, stages, the network, leases."""

from __future__ import annotations

from collections.abc import Iterator

from tests.adapter.model.base import RUNNING, Step
from tests.adapter.model.clients import Clients
from tests.adapter.model.state import Carrier, Client, I, Rule, S, State, side_of

__all__ = ["Changes"]


class Changes(Clients):
    """The steps of operators, machines and networks."""

    def _coordinator(self, state: State, number: int) -> Iterator[Step]:
        name = f"coordinator {number}"
        if not state.is_isobase_up:
            return
        match state.coordinators[number]:
            case "idle":
                is_parked = any(item.target == side_of(state.epoch) and not item.is_intent for item in state.items)
                is_expired = any(item.target == side_of(state.epoch) and item.is_expired for item in state.items)
                is_free = is_parked or is_expired
                is_wanted = state.bounds.handovers or is_free
                if state.handing < 0 and is_wanted and state.is_filled and state.is_dual:
                    after = (
                        state._replace(handing=number)
                        if is_free
                        else state._replace(handing=number).spending("handovers")
                    )
                    yield f"{name} raises the fence", self._with_coordinator(after, number, "fencing")
            case "fencing":
                if state.handing != number:
                    yield f"{name} sees the fence gone", self._with_coordinator(state, number, "idle")
                elif self._may_flip(state):
                    if self.has(Rule.FLIP_CHECKED):
                        yield f"{name} hands over", self._flipped(state, number)
                    else:
                        yield f"{name} sees all drained", self._with_coordinator(state, number, "checked")
            case "checked":
                if not (self.has(Rule.CARRIER_FENCED) and self._holds_pattern(state, 1 - side_of(state.epoch))):
                    yield f"{name} hands over unchecked", self._flipped(state, number)

    @staticmethod
    def _with_coordinator(state: State, number: int, at: str) -> State:
        return state._replace(coordinators=(*state.coordinators[:number], at, *state.coordinators[number + 1 :]))

    def _may_flip(self, state: State) -> bool:
        if self.has(Rule.CARRIER_FENCED) and self._holds_pattern(state, 1 - side_of(state.epoch)):
            return False
        if self.has(Rule.DRAINED_FIRST) and state.items:
            return False
        return self._is_heard(state)

    def _flipped(self, state: State, number: int) -> State:
        epoch = state.epoch + 1
        after = state._replace(epoch=epoch, handing=-1, fence=(max(epoch, state.fence[0]), state.fence[1]))
        return self._with_coordinator(after, number, "idle")

    def _network(self, state: State) -> Iterator[Step]:
        for write, side, epoch in state.wire:
            if side == I and not state.is_isobase_up:
                continue
            key = self.write(write).key
            after = state._replace(wire=state.wire - {(write, side, epoch)})
            if epoch != state.epoch and not self.may_conflict:
                after = after._replace(misdirected=after.misdirected | {write})
            after = after.with_row(side, key, (*state.row(side, key), write))
            for number, client in enumerate(state.clients):
                if client.at == "sent" and client.write == write:
                    after = after.with_client(number, client._replace(at="answered"))
            yield f"write {write} is done at {'SI'[side]}", after
        if state.is_isobase_up and state.bounds.outages:
            after = state._replace(is_isobase_up=False).spending("outages")
            after = after._replace(wire=frozenset(one for one in state.wire if one[1] == S))
            for number, carrier in enumerate(state.carriers):
                if carrier.at == "locked" and carrier.target == I:
                    after = after.with_carrier(number, Carrier())
            for number, client in enumerate(state.clients):
                after = self._disconnected(after, number, client)
            yield "the Isobase side is down", after
        if not state.is_isobase_up:
            yield "the Isobase side is up", state._replace(is_isobase_up=True)
        for number, client in enumerate(state.clients):
            if client.is_cut:
                yield f"client {number} is connected", state.with_client(number, client._replace(is_cut=False))
            elif state.bounds.cuts and client.at != "dead":
                after = state.with_client(number, client._replace(is_cut=True)).spending("cuts")
                yield f"client {number} is cut off", self._disconnected(after, number, after.clients[number])

    def _disconnected(self, state: State, number: int, client: Client) -> State:
        if client.at == "sent" and client.side == I:
            return self._ended(state, number)
        if client.at == "locked" and client.side == S:
            return state.with_client(number, client._replace(at="answered", read=()))
        return state

    def _operator(self, state: State) -> Iterator[Step]:
        sent = {write for write, _, _ in state.wire}
        for item in state.items:
            if not item.is_intent or item.is_expired or (item.id in sent and self.has(Rule.LEASE_OUTLASTS)):
                continue
            owner = state.clients[item.client]
            after = state._replace(items=(state.items - {item}) | {item._replace(is_expired=True)})
            if owner.write != item.id or owner.at == "dead":
                yield f"the lease of write {item.id} is over", after
            elif state.bounds.pauses and owner.at != "sent":
                yield f"client {item.client} is paused until its lease is over", after.spending("pauses")
        if state.handing >= 0:
            if state.bounds.aborts:
                yield "the fence is lifted", state._replace(handing=-1).spending("aborts")
            for number, client in enumerate(state.clients):
                is_empty = not state.spools[number] and not (client.is_spooled and client.at in RUNNING)
                is_there = state.is_isobase_up and not client.is_cut and client.at != "dead"
                if not client.is_fenced and is_there and is_empty:
                    heard = client._replace(is_fenced=True)
                    yield f"client {number} acknowledges the fence", state.with_client(number, heard)
        is_held = self.has(Rule.CARRIER_FENCED) and self._holds_pattern(state, S)
        if state.bounds.failovers and side_of(state.epoch) == I and state.is_isobase_up and not is_held:
            yield "the writer fails over", self._failed_over(state, state.epoch + 1).spending("failovers")
        if state.is_isobase_up and state.fence[0] > state.epoch:
            yield "the failover is recorded", self._failed_over(state, state.fence[0])
        if state.bounds.stage_changes and not state.is_dual:
            yield "the stage becomes dual_write", state._replace(is_dual=True).spending("stage_changes")
        if not self.has(Rule.HEARD_AFTER_CALLS):
            for number, client in enumerate(state.clients):
                if state.is_dual and not client.is_dual and client.at in RUNNING:
                    heard = client._replace(is_dual=True)
                    yield f"client {number} acknowledges too early", state.with_client(number, heard)
