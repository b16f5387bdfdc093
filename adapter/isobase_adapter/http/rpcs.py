"""How a call of a database function goes while both sides matter: as a read, by its rule, or not at all.

A function that the database says changes nothing (stable, immutable) goes as reads go, and so does a GET, which the data
API runs read-only. A volatile one needs a rule, as nobody can see from outside what it changes; without one it is refused
in every stage in which both sides are written, and in ``off`` and ``complete`` while tables are in another stage than it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from isobase_adapter.answers import Answer, mark
from isobase_adapter.capabilities import Capability, Kind, most_specific
from isobase_adapter.contracts import Event, Snapshot, Writer
from isobase_adapter.control.rules import rule as stored_rule
from isobase_adapter.http.classify import Call
from isobase_adapter.http.deciding import Decider, UserOf
from isobase_adapter.http.families import Acted
from isobase_adapter.http.keyed_writes import KeyedWrites, outcome_of_answer
from isobase_adapter.http.limits import lease_of
from isobase_adapter.http.reads import Reads
from isobase_adapter.http.refusals import refusal
from isobase_adapter.http.write_fallback import WriteFallback
from isobase_adapter.http.writes import record_of
from isobase_adapter.metrics import Metrics
from isobase_adapter.performing import Writing, write_twice
from isobase_adapter.settings import RpcKind, RpcRule, rpc_rule_of
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage, WriteRoute, clamped, writer_of
from isobase_adapter.steps import Flow, OnRuntime, Send
from isobase_adapter.things import Thing, ThingKind
from isobase_adapter.writing import DualWrite, Judgement, Outcome, outcome_of_status

__all__ = ["RULE_NAME", "Functions", "Rpcs"]

RULE_NAME = "rpc"
"""The name of the rule in the control store and in a flags file."""
TABLES = f"{Kind.TABLE}:"
VOLATILE_QUERY = """
select n.nspname || '.' || p.proname as name, bool_or(p.provolatile = 'v') as is_volatile
from pg_catalog.pg_proc as p join pg_catalog.pg_namespace as n on n.oid = p.pronamespace
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and p.prokind in ('f', 'p')
group by 1
"""


class Functions:
    """What the database says of its functions. fetch: runs a query; None where no database is known."""

    def __init__(self, fetch: Callable[[str], Awaitable[Sequence[Mapping[str, Any]]]] | None) -> None:
        self._fetch = fetch
        self._is_volatile: dict[str, bool] = {}

    def is_volatile(self, name: str) -> bool | None:
        """Whether ``schema.function`` may change something; None where that is not known."""
        return self._is_volatile.get(name)

    async def load(self) -> None:
        """Read all of them again."""
        if self._fetch is not None:
            self._is_volatile = {row["name"]: row["is_volatile"] for row in await self._fetch(VOLATILE_QUERY)}


@dataclass(slots=True, frozen=True)
class Rpcs:
    """Calls functions for one client. rules: of the settings, by ``schema.function`` or pattern."""

    decider: Decider
    reads: Reads
    functions: Functions
    rules: Mapping[str, RpcRule]
    snapshot: Callable[[], Snapshot]
    writing: Callable[[], Writing]
    metrics: Metrics
    tell: Callable[[Event], None]
    fallback: WriteFallback
    keyed: KeyedWrites

    def rule(self, capability: Capability) -> RpcRule | None:
        """Give a function's rule: an operator's in the control store, else the settings'."""
        stored = stored_rule(self.snapshot(), capability, RULE_NAME)
        if isinstance(stored, str):
            try:
                return rpc_rule_of(stored)
            except ValueError as error:
                self.tell(Event("rule_unreadable", str(capability), {"error": str(error)}))
        pattern = most_specific((f"{Kind.RPC}:{name}" for name in self.rules), capability)
        return None if pattern is None else self.rules[pattern.partition(":")[2]]

    def governing(self, call: Call) -> tuple[Capability, RpcRule | None]:
        """Give the capability whose stage decides for a call that may write: the tables that its rule names, else its own."""
        rule = None if call.is_read else self.rule(call.capability)
        if rule is not None and rule.kind is RpcKind.TABLES:
            return Capability(Kind.TABLE, rule.tables[0]), rule
        return call.capability, rule

    def may_write_elsewhere(self, call: Call, rule: RpcRule | None, stage: Stage) -> bool:
        """Whether a call in stage ``off`` or ``complete`` may write tables whose writer is the other side: nothing says
        which it writes, and some table's stage has another writer, or its writer is being handed over.

        Tables that are written first where the function is called are made equal by ``sync`` or ``verify``, as after any
        other writer that the adapter does not see.
        """
        if call.is_read or rule is not None:
            return False
        snapshot, side = self.snapshot(), writer_of(stage)
        return any(
            writer_of(flag.stage) is not side for name, flag in snapshot.flags.items() if name.startswith(TABLES)
        ) or any(
            writer.is_handing_over or writer.side is not side
            for name, writer in snapshot.writers.items()
            if name.startswith(TABLES)
        )

    def flow(
        self,
        request: httpx.Request,
        call: Call,
        governing: Capability,
        rule: RpcRule | None,
        acted: Acted,
        embeds: Sequence[Capability],
        user_of: UserOf,
    ) -> Flow[httpx.Response]:
        """Call it, and return the answer. governing, rule: as ``governing`` said; acted: of that capability."""
        name = call.capability.name
        is_volatile = self.functions.is_volatile(name)
        if rule is None and not call.is_read and is_volatile is None:
            yield OnRuntime(self.functions.load)
            is_volatile = self.functions.is_volatile(name)
        if call.is_read or is_volatile is False or (rule is not None and rule.kind is RpcKind.READ):
            return (yield from self.reads.flow(request, call, acted, embeds, user_of))
        stage = clamped(acted.stage, acted.writer.side)
        if stage in (Stage.OFF, Stage.COMPLETE) and not self.may_write_elsewhere(call, rule, stage):
            return (yield from self._first(request, call, acted))
        if rule is None:
            return self._refused(call, acted)
        self.metrics.add("writes", str(call.capability))
        match rule.kind:
            case RpcKind.TABLES:
                return (yield from self._with_tables(request, call, governing, rule, acted, user_of))
        return (yield from self._alone(request, call, acted, user_of, is_twice=rule.kind is RpcKind.BOTH))

    def _first(self, request: httpx.Request, call: Call, acted: Acted) -> Flow[httpx.Response]:
        side = acted.write_route.first
        response: httpx.Response = yield Send(side, request, is_streamed=True)
        return mark(response, Answer(side, str(call.capability), acted.stage))

    def _alone(
        self, request: httpx.Request, call: Call, acted: Acted, user_of: UserOf, *, is_twice: bool
    ) -> Flow[httpx.Response]:
        """Call it where its writer is, and nothing is carried after it. It is let in all the same: a handover waits for it.

        is_twice: it is called at the other side as well.
        """
        name = str(call.capability)
        sent_to: list[Side] = []

        def send_first(side: Side) -> Flow[httpx.Response]:
            sent_to.append(side)
            response: httpx.Response = yield Send(side, request)
            return response

        def judge(response: httpx.Response) -> Flow[Judgement]:
            outcome = outcome_of_status(response.status_code)
            if is_twice and outcome is Outcome.TAKEN:
                side = sent_to[-1].other
                try:
                    second: httpx.Response = yield Send(side, request)
                    why = "" if second.is_success else f"status {second.status_code}"
                except httpx.TransportError as error:
                    why = type(error).__name__
                if why:
                    self.metrics.add("rpc_second_failed", name)
                    self.tell(Event("rpc_second_failed", name, {"side": side, "why": why}))
            return Judgement(outcome, ())

        write = DualWrite(
            call.capability,
            record_of(request, call),
            (),
            lambda snapshot: self.decider.decided(snapshot, call.capability, user_of).write_route,
            lease_of(request),
        )
        response = yield from write_twice(write, self.writing(), send_first=send_first, judge=judge)
        return mark(response, Answer(sent_to[-1], name, acted.stage))

    def _with_tables(
        self,
        request: httpx.Request,
        call: Call,
        governing: Capability,
        rule: RpcRule,
        acted: Acted,
        user_of: UserOf,
    ) -> Flow[httpx.Response]:
        patterns = {most_specific(self.snapshot().writers, Capability(Kind.TABLE, table)) for table in rule.tables}
        if len(patterns) > 1:
            return refusal(
                "MIGRATION_SPLIT",
                f"The function {call.capability.name} writes tables that have flags of their own",
                details=", ".join(rule.tables),
                hint="Move these together: give them one flag (a pattern).",
            )
        things = tuple(Thing(ThingKind.TABLE, table) for table in rule.tables)
        sent_to: list[Side] = []

        def now() -> tuple[WriteRoute, Writer]:
            decided = self.decider.acted(governing, user_of)
            return decided.write_route, decided.writer

        def send_first(side: Side) -> Flow[httpx.Response]:
            sent_to.append(side)
            epoch = now()[1].epoch

            def lost() -> None:
                self.fallback.lost(governing, now()[0])

            return (yield from self.keyed.sent(side, request, lambda: now()[1].epoch == epoch, lost))

        def judge(response: httpx.Response) -> Flow[Judgement]:
            yield from ()
            return Judgement(outcome_of_answer(response), things)

        write = DualWrite(
            governing,
            record_of(request, call),
            things,
            lambda snapshot: self.decider.decided(snapshot, governing, user_of).write_route,
            lease_of(request),
        )

        def attempt() -> Flow[httpx.Response]:
            return (yield from write_twice(write, self.writing(), send_first=send_first, judge=judge))

        response = yield from self.fallback.guarded(governing, now, attempt)
        side = sent_to[-1]
        is_fallback = side is not acted.write_route.first
        return mark(response, Answer(side, str(call.capability), acted.stage, is_fallback=is_fallback))

    def _refused(self, call: Call, acted: Acted) -> httpx.Response:
        name = call.capability.name
        self.tell(Event("refused", str(call.capability), {"path": call.path, "stage": acted.stage}))
        return refusal(
            "MIGRATION_RPC_RULE",
            f"The function {name} may write, and nothing says what: it cannot be called in stage {acted.stage}",
            details="It is volatile, or the database could not be asked.",
            hint=f"Set ISOBASE_MIGRATION_RPC={name}=read|sync|tables:a|b|both|first_only, or isobase migrate"
            f" flags rule rpc:{name} {RULE_NAME} '\"...\"'.",
        )
