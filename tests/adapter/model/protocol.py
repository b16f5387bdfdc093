"""The write protocol as a transition system: from one state to all that may come next, and what must hold in each.

One pattern's capability with a few keys. Docs: docs/migration/proof.md says which action stands for what in the product.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.adapter.model.base import Step
from tests.adapter.model.carriers import Carriers
from tests.adapter.model.changes import Changes
from tests.adapter.model.state import I, S, State, side_of

__all__ = ["Protocol"]


class Protocol(Changes, Carriers):
    """The whole."""

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that may happen now."""
        for number in range(len(state.clients)):
            yield from self._client(state, number)
            yield from self._spool(state, number)
        for number in range(len(state.carriers)):
            yield from self._carrier(state, number)
        for number in range(len(state.coordinators)):
            yield from self._coordinator(state, number)
        yield from self._network(state)
        yield from self._operator(state)

    def is_settled(self, state: State) -> bool:
        """Whether nothing is on its way any more."""
        return (
            not state.items
            and not any(state.spools)
            and not state.wire
            and not state.fence[1]
            and state.is_isobase_up
            and state.is_filled
            and state.is_dual
            and all(client.at in ("idle", "dead") for client in state.clients)
            and all(carrier.at == "idle" for carrier in state.carriers)
        )

    def violation(self, state: State) -> str | None:
        """What is wrong in this state, or None."""
        if state.misdirected:
            return f"done at the wrong side after a handover: {sorted(state.misdirected)}"
        if state.letters and not self.may_conflict:
            return f"a conflict without a failover: {sorted(state.letters)}"
        kept = {write for letter in state.letters for write in (*letter.supabase, *letter.isobase)}
        anywhere = kept.union(*state.supabase, *state.isobase)
        if lost := state.acknowledged - anywhere:
            return f"acknowledged and nowhere: {sorted(lost)}"
        for side in (S, I):
            for key in range(self.keys):
                row = state.row(side, key)
                if len(set(row)) != len(row):
                    return f"done twice at {'SI'[side]}: {row}"
                for first, second in state.after:
                    if first in row and second in row and row.index(first) > row.index(second):
                        return f"out of order at {'SI'[side]}: {row}"
        if not self.is_settled(state):
            return None
        writer = side_of(state.epoch)
        at_writer = kept.union(*(state.row(writer, key) for key in range(self.keys)))
        if lost := state.acknowledged - at_writer:
            return f"acknowledged and not at the writer: {sorted(lost)}"
        for key in range(self.keys):
            if state.row(S, key) != state.row(I, key):
                return f"key {key} differs after the drain: {state.row(S, key)} and {state.row(I, key)}"
        return None
