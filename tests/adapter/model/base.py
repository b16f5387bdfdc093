"""What all actors of the protocol share: the plan, the rules, and who may carry what."""

from __future__ import annotations

from dataclasses import dataclass

from tests.adapter.model.state import (
    ALL_RULES,
    WHOLE,
    Bounds,
    Carrier,
    Client,
    I,
    Item,
    Letter,
    Rule,
    S,
    State,
    side_of,
)

__all__ = ["COPY", "RUNNING", "Base", "Step", "Write"]

Step = tuple[str, State]
COPY = -3
"""The item of a carrier that copies all rows from before."""
RUNNING = ("admitting", "begun", "sent", "answered", "locked", "settling")


@dataclass(slots=True, frozen=True)
class Write:
    """One write of an app. is_known: whether its key is known before the first side has answered."""

    id: int
    key: int
    is_known: bool = True


@dataclass(frozen=True)
class Base:
    """Who writes what, and by which rules. ``plans``: each client's writes, in its order."""

    plans: tuple[tuple[Write, ...], ...]
    keys: int = 1
    rules: frozenset[Rule] = ALL_RULES
    drainers: int = 1
    may_conflict: bool = False
    """Whether a failover or fallback can happen: without one, nothing may ever be a conflict, nor at the wrong side."""

    def start(
        self, bounds: Bounds, *, epoch: int = 0, is_dual: bool = True, coordinators: int = 1, is_filled: bool = True
    ) -> State:
        """The first state: empty rows at both sides."""
        rows = ((),) * self.keys
        return State(
            supabase=rows,
            isobase=rows,
            clients=tuple(Client(epoch=epoch, is_dual=is_dual) for _ in self.plans),
            carriers=(Carrier(),) * self.drainers,
            bounds=bounds,
            epoch=epoch,
            coordinators=("idle",) * coordinators,
            spools=((),) * len(self.plans),
            fence=(epoch, frozenset()),
            is_dual=is_dual,
            is_filled=is_filled,
        )

    def write(self, number: int) -> Write:
        """The write of that number."""
        return next(write for plan in self.plans for write in plan if write.id == number)

    def has(self, rule: Rule) -> bool:
        """Whether a rule is kept."""
        return rule in self.rules

    @staticmethod
    def _item(state: State, number: int) -> Item | None:
        return next((item for item in state.items if item.id == number), None)

    @staticmethod
    def _without(state: State, number: int) -> State:
        return state._replace(items=frozenset(item for item in state.items if item.id != number))

    @staticmethod
    def _holds_key(state: State, key: int, target: int, plans: Base, *, but_client: int = -1) -> bool:
        return any(
            client.at == "locked" and 1 - client.side == target and plans.write(client.write).key == key
            for number, client in enumerate(state.clients)
            if number != but_client
        ) or any(
            carrier.at == "locked" and carrier.target == target and carrier.keys[0] == key for carrier in state.carriers
        )

    @staticmethod
    def _holds_pattern(state: State, target: int) -> bool:
        return any(client.at == "locked" and 1 - client.side == target for client in state.clients) or any(
            carrier.at == "locked" and carrier.target == target for carrier in state.carriers
        )

    def _may_carry(
        self,
        state: State,
        key: int,
        target: int,
        epoch: int,
        *,
        by_client: int = -1,
        has_item: bool = True,
        ignores_locks: bool = False,
    ) -> bool:
        """Whether a carrier that has its locks goes on: the writer is the source, and nothing comes the other way."""
        if not state.is_isobase_up:
            return False
        if not ignores_locks and self._holds_key(state, key, target, self, but_client=by_client):
            return False
        if not self.has(Rule.CARRIER_FENCED):
            return True
        fence_epoch, members = state.fence
        if side_of(state.epoch) == target:
            # What was on its way to Supabase when the writer failed over: writes of its keys wait for it.
            is_recorded = self.has(Rule.FALLBACK_RECORDED) and (fence_epoch > state.epoch or bool(members))
            return by_client < 0 and has_item and not is_recorded and not self._counterparts(state, key, target)
        if epoch != state.epoch:
            return False
        if target == S:
            if self.has(Rule.FALLBACK_RECORDED) and fence_epoch > epoch:
                return False
            if self.has(Rule.SPOOLS_MERGED) and members:
                return False
        return not self.has(Rule.CONFLICTS_KEPT) or not any(
            item.is_intent and not item.is_expired for item in self._counterparts(state, key, target)
        )

    def _is_heard(self, state: State) -> bool:
        """Whether no client writes, or will write, past the outbox while the fence is up."""
        if self.has(Rule.SPOOLS_MERGED) and (state.fence[1] or any(state.spools)):
            return False
        return not self.has(Rule.FENCE_HEARD) or all(
            client.is_fenced or client.at == "dead" for client in state.clients
        )

    def _have_heard(self, state: State) -> bool:
        """Whether no client acts upon the stage off any more, nor did when it died."""
        sent = {write for write, _, _ in state.wire} if self.has(Rule.DEAD_FOR_LONG) else set()
        return all(
            client.is_dual or (client.at == "dead" and sent.isdisjoint(write.id for write in plan))
            for client, plan in zip(state.clients, self.plans, strict=True)
        )

    @staticmethod
    def _counterparts(state: State, key: int, target: int) -> list[Item]:
        return [item for item in state.items if item.target != target and item.key in (key, WHOLE)]

    def _failed_over(self, state: State, epoch: int) -> State:
        """Supabase is written first in ``epoch``, at once."""
        # Writes on their way are not acknowledged any more, and go the way of the new writer.
        turned = {
            item._replace(target=I, epoch=epoch) if item.is_intent and item.target == S else item
            for item in state.items
        }
        state = state._replace(items=frozenset(turned))
        return state._replace(epoch=epoch, handing=-1, fence=(max(epoch, state.fence[0]), state.fence[1]))

    def _put(self, state: State, key: int, target: int, row: tuple[int, ...]) -> State:
        """Write a key at the target. What comes the other way makes it a conflict: the writer's row stays, both are kept."""
        if self.has(Rule.CONFLICTS_KEPT):
            others = self._counterparts(state, key, target)
            is_writers = side_of(state.epoch) != target
            if others and is_writers and state.row(target, key) != row:
                pair = (row, state.row(target, key)) if target == I else (state.row(target, key), row)
                state = state._replace(letters=state.letters | {Letter(key, *pair)})
            if is_writers:
                state = state._replace(items=state.items - {item for item in others if item.key == key})
        return state.with_row(target, key, row)
