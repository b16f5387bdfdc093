"""Handles the calls of auth while both sides matter: the family of ``http.families`` for auth.

A write goes to the side that is written first, then its user is carried. A read goes where the stage says. Whoever the
side that is asked does not know is looked for at the other and carried (``strangers``), so that a session, a code or a
token is good wherever it was made.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from isobase_adapter.answers import Answer, mark
from isobase_adapter.auth import resolve
from isobase_adapter.auth.calls import AuthCall, AuthKind, auth_call, users_in
from isobase_adapter.auth.carrier import UserCarrier
from isobase_adapter.auth.errors import UserConflict
from isobase_adapter.auth.strangers import is_stranger, made_the_code, strangers_of
from isobase_adapter.breakers import Breakers, CallKind, is_unavailable
from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event, Snapshot
from isobase_adapter.failures import DATABASE_FAILURES
from isobase_adapter.http.bodies import content_of
from isobase_adapter.http.classify import Call, FamilyName
from isobase_adapter.http.families import Acted
from isobase_adapter.metrics import Metrics
from isobase_adapter.performing import Writing, write_twice
from isobase_adapter.rows.database import SideDatabase
from isobase_adapter.shadow.asking import ShadowReads
from isobase_adapter.sides import Side
from isobase_adapter.stages import WriteRoute, write_route
from isobase_adapter.steps import ELAPSED_EXTENSION, Flow, OnRuntime, Send
from isobase_adapter.things import Thing
from isobase_adapter.writing import DualWrite, Judgement, Outcome, outcome_of_error, outcome_of_status, writer_for

__all__ = ["AuthFamily"]

logger = logging.getLogger("isobase.migration.auth")

REMEMBERED_TOKENS = 10_000
AUTH = Capability(Kind.AUTH)
CAPABILITY = str(AUTH)
_ALREADY_USED = b"refresh_token_already_used"


class AuthFamily:
    """The calls of auth.

    carrier: carries users. databases: both sides', to look for whom one side does not know. writing: gives what performs
    the steps of writes. tell: is told of fallbacks. user_of: gives the user's id in
    a request's token. fallback_timeout_s: the most seconds that each step of a call at Isobase
    may take before Supabase is asked instead. backlog: says whether a side lacks writes of a capability, None where nobody
    can tell. shadow: compares what users are told in stage ``shadow_read``.
    """

    name = FamilyName.AUTH

    def __init__(
        self,
        carrier: UserCarrier,
        databases: Mapping[Side, SideDatabase],
        writing: Callable[[], Writing],
        breakers: Breakers,
        metrics: Metrics,
        tell: Callable[[Event], None],
        user_of: Callable[[httpx.Request], str | None],
        fallback_timeout_s: float,
        backlog: Callable[[frozenset[Capability], Side], Coroutine[Any, Any, bool | None]],
        shadow: ShadowReads | None = None,
    ) -> None:
        """Take the parts."""
        self._carrier = carrier
        self._databases = databases
        self._writing = writing
        self._breakers = breakers
        self._metrics = metrics
        self._tell = tell
        self._user_of = user_of
        self._shadow = shadow
        self._fallback_timeout_s = fallback_timeout_s
        self._backlog = backlog
        self._owners: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    def flow(self, request: httpx.Request, call: Call, acted: Acted) -> Flow[httpx.Response]:
        """Handle a call (``Family.flow``)."""
        asked = auth_call(request, call.operation, self._user_of(request), datetime.now(UTC))
        match asked.kind:
            case AuthKind.KEYS:
                return (yield from self._keys(request, acted))
            case AuthKind.READ:
                return (yield from self._read(request, asked, acted))
            case AuthKind.WRITE:
                return (yield from self._write(request, asked, call, acted))

    def _read(self, request: httpx.Request, asked: AuthCall, acted: Acted) -> Flow[httpx.Response]:
        self._metrics.add("reads", CAPABILITY)
        route = acted.read_route
        if not route.falls_back or route.answers is Side.SUPABASE:
            answer = yield from self._ask(route.answers, request, asked, acted)
            if (
                route.compares
                and asked.is_comparable
                and self._shadow is not None
                and self._shadow.wants(request, AUTH)
            ):
                self._shadow.answered(request, answer, AUTH, route.answers)
            return mark(answer, Answer(route.answers, CAPABILITY, acted.stage))
        if acted.writer.side is Side.SUPABASE and (yield from self._lacks(Side.ISOBASE)):
            # What happened at Supabase is carried before its caller hears of it, unless Isobase did not answer then.
            answer = yield from self._ask(Side.SUPABASE, request, asked, acted)
            self._metrics.add("reads_at_writer", CAPABILITY)
            return mark(answer, Answer(Side.SUPABASE, CAPABILITY, acted.stage, is_fallback=True))
        tried = yield from self._tried(request, asked, acted)
        if isinstance(tried, httpx.Response) and not is_unavailable(tried):
            return mark(tried, Answer(Side.ISOBASE, CAPABILITY, acted.stage))
        is_behind = yield from self._lacks(Side.SUPABASE)  # before the read: what comes meanwhile is not in its answer
        try:
            answer = yield from self._ask(Side.SUPABASE, request, asked, acted)
        except httpx.TransportError:
            # Both are down: the error is that of the side that should have answered.
            return self._failed(tried, acted)
        if is_unavailable(answer):
            return self._failed(tried, acted)
        return self._fallen_back("read", answer, tried, acted, is_behind=is_behind)

    def _lacks(self, side: Side) -> Flow[bool]:
        """Whether a side may lack what somebody was told of; True where nobody can tell."""
        return (yield OnRuntime(lambda: self._backlog(frozenset([AUTH]), side))) is not False

    def _write(self, request: httpx.Request, asked: AuthCall, call: Call, acted: Acted) -> Flow[httpx.Response]:
        self._metrics.add("writes", CAPABILITY)
        things = self._known_things(asked)

        def route_of(snapshot: Snapshot) -> WriteRoute:
            return write_route(acted.stage, writer_for(snapshot, call.capability).side)

        def send(side: Side) -> Flow[httpx.Response]:
            if side is Side.ISOBASE and write_route(acted.stage, Side.ISOBASE).falls_back:
                return (yield from self._send_or_fall_back(request, asked, acted))
            answer = yield from self._ask(side, request, asked, acted)
            return mark(answer, Answer(side, CAPABILITY, acted.stage))

        return (
            yield from write_twice(
                DualWrite(call.capability, asked.record, things, route_of),
                self._writing(),
                send_first=send,
                judge=lambda answer: self._judge(asked, things, answer),
            )
        )

    def _send_or_fall_back(self, request: httpx.Request, asked: AuthCall, acted: Acted) -> Flow[httpx.Response]:
        """Write at Isobase or, where that is down, at Supabase, under the same intent.

        Users are merged with what both sides had, so what happens at Supabase comes home with the carrying that is to
        follow anyway, and the writer need not move.
        """
        tried = yield from self._tried(request, asked, acted)
        if isinstance(tried, httpx.Response):
            if not is_unavailable(tried) or not asked.may_be_repeated:
                return mark(tried, Answer(Side.ISOBASE, CAPABILITY, acted.stage))
        elif not self._may_repeat(asked, tried):
            raise tried
        try:
            answer = yield from self._ask(Side.SUPABASE, request, asked, acted)
        except httpx.TransportError:
            return self._failed(tried, acted)
        if is_unavailable(answer):
            return self._failed(tried, acted)
        return self._fallen_back("write", answer, tried, acted)

    @staticmethod
    def _may_repeat(asked: AuthCall, error: httpx.TransportError) -> bool:
        return asked.may_be_repeated or outcome_of_error(error) is Outcome.REFUSED

    def _tried(
        self, request: httpx.Request, asked: AuthCall, acted: Acted
    ) -> Flow[httpx.Response | httpx.TransportError]:
        """Ask Isobase within the limit, where its breaker lets the call through; give its answer, or why there is none."""
        gate = self._breakers.gate(
            CAPABILITY, Side.ISOBASE, CallKind.READS if asked.kind is AuthKind.READ else CallKind.WRITES
        )
        if not gate.allows():
            return httpx.ConnectError("the breaker of auth at Isobase is open", request=request)
        limit_s = self._fallback_timeout_s
        try:
            answer: httpx.Response = yield from self._ask(Side.ISOBASE, request, asked, acted, limit_s)
        except httpx.TransportError as error:
            gate.failed(error, limit_s)
            return error
        except BaseException:
            gate.forget()
            raise
        gate.answered(answer, answer.extensions[ELAPSED_EXTENSION])
        return answer

    def _failed(self, failure: httpx.Response | httpx.TransportError, acted: Acted) -> httpx.Response:
        if isinstance(failure, httpx.Response):
            return mark(failure, Answer(Side.ISOBASE, CAPABILITY, acted.stage))
        raise failure

    def _fallen_back(
        self,
        what: str,
        answer: httpx.Response,
        failure: httpx.Response | httpx.TransportError,
        acted: Acted,
        *,
        is_behind: bool = False,
    ) -> httpx.Response:
        why = f"status {failure.status_code}" if isinstance(failure, httpx.Response) else type(failure).__name__
        self._metrics.add(f"fallback_{what}s", CAPABILITY)
        self._tell(Event(f"fallback_{what}", CAPABILITY, {"why": why}))
        return mark(answer, Answer(Side.SUPABASE, CAPABILITY, acted.stage, is_fallback=True, is_behind=is_behind))

    def _keys(self, request: httpx.Request, acted: Acted) -> Flow[httpx.Response]:
        """Put both sides' public keys together, so that ``get_claims`` knows either's tokens."""
        answering = acted.read_route.answers
        answers: dict[Side, httpx.Response] = {}
        failure: httpx.TransportError | None = None
        for side in (answering, answering.other):
            try:
                answers[side] = yield Send(side, request)
            except httpx.TransportError as error:
                failure = failure or error
        good = [answers[side] for side in (answering, answering.other) if side in answers and answers[side].is_success]
        if not good:
            if answering in answers:
                return answers[answering]
            assert failure is not None
            raise failure
        keys: dict[str, Any] = {}
        for answer in good:
            for key in _keys_of(answer):
                keys.setdefault(json.dumps(key, sort_keys=True), key)
        both = httpx.Response(200, json={"keys": list(keys.values())}, request=request)
        return mark(both, Answer(answering, CAPABILITY, acted.stage))

    def _ask(
        self, side: Side, request: httpx.Request, asked: AuthCall, acted: Acted, most_step_s: float | None = None
    ) -> Flow[httpx.Response]:
        """Send to a side; whom it does not know is looked for at the other, and then it is asked again."""
        answer: httpx.Response = yield Send(side, request, most_step_s=most_step_s)
        if is_stranger(answer) and (yield OnRuntime(lambda: self._introduce(side, asked, acted))):
            answer = yield Send(side, request, most_step_s=most_step_s)
        if asked.types_code and is_stranger(answer) and (yield OnRuntime(lambda: self._made_there(side.other, asked))):
            there: httpx.Response = yield Send(side.other, request)
            answer = there if there.is_success else answer
        self._remember(asked, answer)
        return answer

    async def _made_there(self, side: Side, asked: AuthCall) -> bool:
        try:
            return await made_the_code(self._databases[side], asked.hints)
        except DATABASE_FAILURES as error:
            logger.warning("could not look for a code at the other side: %s", type(error).__name__)
            return False

    async def _introduce(self, side: Side, asked: AuthCall, acted: Acted) -> bool:
        """Carry to ``side`` whom the other side knows by what was brought; say whether anything was written."""
        try:
            users = await strangers_of(self._databases[side.other], asked.hints)
            if not users:
                return False
            target = acted.writer.side.other
            return (await self._carrier.merge(sorted(users), target)).changed > 0
        except (*DATABASE_FAILURES, UserConflict, ValueError) as error:
            # The side's own answer stands: it is what the app would have had without the other side.
            logger.warning("could not look for a user at the other side: %s", type(error).__name__)
            return False

    def _judge(self, asked: AuthCall, things: tuple[Thing, ...], answer: httpx.Response) -> Flow[Judgement]:
        yield from ()
        outcome = outcome_of_status(answer.status_code)
        if outcome is Outcome.REFUSED and _ALREADY_USED in content_of(answer):
            # A token that was used twice ends its whole session: this refusal is a write.
            return Judgement(Outcome.TAKEN, things)
        if outcome is not Outcome.TAKEN:
            return Judgement(outcome)
        users = users_in(answer) | ({asked.hints.user} if asked.hints.user else set())
        named = tuple(resolve.user_thing(user) for user in sorted(users))
        # An answer that names nobody may concern whom the request named (a mail was sent, a code was taken).
        return Judgement(Outcome.TAKEN, named or things)

    def _known_things(self, asked: AuthCall) -> tuple[Thing, ...]:
        token = asked.hints.refresh_token
        if token is not None:
            with self._lock:
                owner = self._owners.get(_digest(token))
            if owner is not None:
                return (resolve.user_thing(owner),)
        return asked.things

    def _remember(self, asked: AuthCall, answer: httpx.Response) -> None:
        """Keep whose a refresh token is, by its hash: the next call brings the token alone."""
        if asked.kind is not AuthKind.WRITE or not answer.is_success:
            return
        try:
            body = json.loads(content_of(answer))
            token, user = body["refresh_token"], body["user"]["id"]
        except (ValueError, KeyError, TypeError):
            return
        with self._lock:
            self._owners[_digest(str(token))] = str(user)
            while len(self._owners) > REMEMBERED_TOKENS:
                self._owners.popitem(last=False)


def _keys_of(answer: httpx.Response) -> list[dict[str, Any]]:
    try:
        keys = json.loads(content_of(answer))["keys"]
    except (ValueError, KeyError, TypeError):
        return []
    return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
