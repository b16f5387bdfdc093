"""What an adapter does with its writes: admission, the first side, carrying at once, the spool."""

from __future__ import annotations

from collections.abc import Iterator

from tests.adapter.model.base import RUNNING, Base, Step, Write
from tests.adapter.model.state import WHOLE, Client, I, Item, Letter, Rule, S, State, side_of

__all__ = ["Clients"]


class Clients(Base):
    """The steps of the clients."""

    def _client(self, state: State, number: int) -> Iterator[Step]:
        client = state.clients[number]
        if client.at == "dead":
            return
        name = f"client {number}"
        if state.bounds.crashes and client.at in RUNNING:
            dead = client._replace(at="dead", read=())
            yield f"{name} is killed", state.with_client(number, dead).spending("crashes")
        reaches = state.is_isobase_up and not client.is_cut
        match client.at:
            case "idle":
                yield from self._begin(state, number, reaches=reaches)
            case "admitting":
                if reaches:
                    yield f"{name} is admitted late", self._admitted(state, number)
            case "begun":
                yield from self._send(state, number)
            case "sent":
                if state.bounds.lost_answers:
                    yield f"{name} loses the answer", self._ended(state, number).spending("lost_answers")
            case "answered":
                yield from self._second(state, number, reaches=reaches)
            case "locked":
                side = 1 - client.side
                after = self._put(state, self.write(client.write).key, side, client.read)
                if side == I:
                    # The outbox is in this database: the row and the end of the intent are one transaction.
                    after = self._without(after, client.write)
                    yield f"{name} carries and settles", self._ended(after, number, is_acknowledged=True)
                else:
                    yield f"{name} carries", after.with_client(number, client._replace(at="settling", read=()))
            case "settling":
                after = self._without(state, client.write) if reaches else state
                yield f"{name} settles", self._ended(after, number, is_acknowledged=True)

    def _begin(self, state: State, number: int, *, reaches: bool) -> Iterator[Step]:
        client = state.clients[number]
        name = f"client {number}"
        if reaches and client.is_dual != state.is_dual:
            yield f"{name} hears the stage", state.with_client(number, client._replace(is_dual=state.is_dual))
        if client.done == len(self.plans[number]):
            return
        if not client.is_dual:
            begun = client._replace(at="begun", write=self._next(client, number).id, side=side_of(client.epoch))
            yield f"{name} begins without an intent", self._begun(state, number, begun)
        elif not reaches:
            if not (client.is_fenced and self.has(Rule.FENCE_HEARD)):
                yield from self._begin_in_spool(state, number)
        elif client.epoch != state.epoch or (client.is_fenced and state.handing < 0):
            heard = client._replace(epoch=state.epoch, is_fenced=client.is_fenced and state.handing >= 0)
            yield f"{name} hears of epoch {state.epoch}", state.with_client(number, heard)
            if not self.has(Rule.EPOCH_CHECKED):
                yield f"{name} begins in an old epoch", self._admitted(state, number)
        elif (in_the_way := self._in_the_way(state, number)) and self.has(Rule.BEHIND):
            yield from self._over_conflicts(state, number, in_the_way)
        elif state.handing < 0 or not self.has(Rule.EPOCH_CHECKED):
            if self.has(Rule.WRITER_LOCKED):
                yield f"{name} is admitted", self._admitted(state, number)
            else:
                yield f"{name} sees that it may write", state.with_client(number, client._replace(at="admitting"))

    def _in_the_way(self, state: State, number: int) -> list[Item]:
        """What must reach the writer before this client's next key is written there."""
        client = state.clients[number]
        return self._counterparts(state, self._next(client, number).key, 1 - side_of(client.epoch))

    def _over_conflicts(self, state: State, number: int, in_the_way: list[Item]) -> Iterator[Step]:
        """Not for ever: it becomes a letter, under the fence that carriers to the writer hold."""
        is_free = not (self.has(Rule.CONFLICT_FENCED) and self._holds_pattern(state, S))
        if state.handing < 0 and is_free and all(not item.is_intent and item.key != WHOLE for item in in_the_way):
            letters = {Letter(item.key, state.row(S, item.key), state.row(I, item.key)) for item in in_the_way}
            after = state._replace(items=state.items - set(in_the_way), letters=state.letters | letters)
            yield f"client {number} is admitted over a conflict", self._admitted(after, number)

    def _next(self, client: Client, number: int) -> Write:
        return self.plans[number][client.done]

    def _begun(self, state: State, number: int, client: Client) -> State:
        key = self.write(client.write).key
        earlier = {(one, client.write) for one in state.acknowledged if self.write(one).key == key}
        return state._replace(after=state.after | earlier).with_client(number, client)

    def _admitted(self, state: State, number: int) -> State:
        client = state.clients[number]
        write = self._next(client, number)
        side = side_of(client.epoch)
        begun = client._replace(at="begun", write=write.id, side=side, is_spooled=False)
        after = self._begun(state, number, begun)
        if not self.has(Rule.INTENT_FIRST):
            return after
        return after._replace(items=after.items | {self._intent(write, number, client.epoch)})

    def _intent(self, write: Write, client: int, epoch: int) -> Item:
        key = write.key if write.is_known else WHOLE if self.has(Rule.WHOLE_WHERE_UNKNOWN) else self.keys
        return Item(write.id, key, 1 - side_of(epoch), epoch, client)

    def _begin_in_spool(self, state: State, number: int) -> Iterator[Step]:
        client = state.clients[number]
        write = self._next(client, number)
        epoch = client.epoch
        if side_of(epoch) == I and not self.may_conflict:
            return
        if side_of(epoch) == I or (epoch and self.has(Rule.RECORDED_AFTERWARDS)):
            # A fallback. What Supabase's database knows is the newest that can be heard without the Isobase side.
            if self.has(Rule.FALLBACK_RECORDED):
                if self.has(Rule.CARRIER_FENCED) and self._holds_pattern(state, S):
                    return
                known, members = state.fence
                epoch = max(known, epoch)
                epoch += epoch % 2
                state = state._replace(fence=(epoch, members | {number}))
            else:
                epoch += 1
        begun = client._replace(at="begun", epoch=epoch, write=write.id, side=S, is_spooled=True)
        spool = (*state.spools[number], self._intent(write, number, epoch))
        spools = (*state.spools[:number], spool, *state.spools[number + 1 :])
        yield f"client {number} begins in its spool", self._begun(state._replace(spools=spools), number, begun)

    def _send(self, state: State, number: int) -> Iterator[Step]:
        client = state.clients[number]
        name = f"client {number}"
        item = self._item(state, client.write)
        if (
            client.is_dual
            and not client.is_spooled
            and self.has(Rule.LEASE_BEFORE_SEND)
            and self.has(Rule.INTENT_FIRST)
        ) and (item is None or item.is_expired):
            yield f"{name} does not send, its lease is over", self._ended(state, number)
            return
        reaches = client.side == S or (state.is_isobase_up and not client.is_cut)
        if reaches:
            wire = state.wire | {(client.write, client.side, client.epoch)}
            yield f"{name} sends", state._replace(wire=wire).with_client(number, client._replace(at="sent"))
        else:
            # Nothing was sent: the intent stays until its lease is over, which carries nothing new.
            yield f"{name} cannot send", self._ended(state, number)

    def _second(self, state: State, number: int, *, reaches: bool) -> Iterator[Step]:
        client = state.clients[number]
        name = f"client {number}"
        write = self.write(client.write)
        if not client.is_dual:
            yield f"{name} answers", self._ended(state, number, is_acknowledged=True)
            return
        if client.is_spooled:
            spool = tuple(
                item._replace(is_intent=False, key=write.key) if item.id == write.id else item
                for item in state.spools[number]
            )
            spools = (*state.spools[:number], spool, *state.spools[number + 1 :])
            # Where it was adopted meanwhile (it is taken for dead), the intent is in the outbox.
            yield f"{name} answers", self._ended(state._replace(spools=spools), number, is_acknowledged=True)
            return
        item = self._item(state, client.write)
        if (item is not None and item.target == client.side) or (not reaches and client.side == I):
            yield f"{name} is told that its write may not count", self._ended(state, number)
            return
        if not reaches:
            # The intent is there, or its lease was over and a drainer has carried what it named.
            yield f"{name} answers without the outbox", self._ended(state, number, is_acknowledged=True)
            return
        target = 1 - client.side
        if self._may_carry(state, write.key, target, client.epoch, by_client=number):
            read = state.row(client.side, write.key)
            yield f"{name} locks and reads", state.with_client(number, client._replace(at="locked", read=read))
        is_refused = not self._may_carry(state, write.key, target, client.epoch, by_client=number, ignores_locks=True)
        if state.bounds.failed_carries or is_refused:
            after = state if is_refused else state.spending("failed_carries")
            is_gone = self._item(state, client.write) is None and self.has(Rule.INTENT_FIRST)
            if is_gone and self.has(Rule.POSTPONED_IF_THERE):
                yield f"{name} finds that a drainer has carried it", self._ended(after, number, is_acknowledged=True)
                return
            yield f"{name} postpones", self._ended(self._postponed(after, number), number, is_acknowledged=True)

    def _postponed(self, state: State, number: int) -> State:
        client = state.clients[number]
        key, target = self.write(client.write).key, 1 - client.side
        older = {item for item in state.items if not item.is_intent and (item.key, item.target) == (key, target)}
        mine = {item for item in state.items if item.id == client.write}
        if older and not self.has(Rule.NEW_ITEM):
            return state._replace(items=state.items - mine)
        new = Item(client.write, key, target, client.epoch, number, is_intent=False)
        return state._replace(items=(state.items - mine - older) | {new})

    def _ended(self, state: State, number: int, *, is_acknowledged: bool = False) -> State:
        client = state.clients[number]
        after = state
        if is_acknowledged:
            after = after._replace(acknowledged=after.acknowledged | {client.write})
        ended = client._replace(at="idle", done=client.done + 1, write=-1, side=S, read=(), is_spooled=False)
        return after.with_client(number, ended)

    def _spool(self, state: State, number: int) -> Iterator[Step]:
        """A spool is moved into the outbox: by its client, or by who adopts it when its client is dead."""
        client = state.clients[number]
        is_listed = number in state.fence[1]
        if not state.is_isobase_up or not (state.spools[number] or is_listed):
            return
        is_dead = client.at == "dead"
        is_asleep = any(item.id in {write for write, _, _ in state.wire} for item in state.spools[number])
        if (is_dead and is_asleep) or (not is_dead and (client.is_cut or client.at != "idle")):
            return
        spooled = {item._replace(is_expired=True) if is_dead else item for item in state.spools[number]}
        spools = (*state.spools[:number], (), *state.spools[number + 1 :])
        epoch, members = state.fence
        after = self._failed_over(state, epoch) if epoch > state.epoch else state
        after = after._replace(items=after.items | spooled, spools=spools, fence=(epoch, members - {number}))
        yield f"the spool of client {number} is moved into the outbox", after
