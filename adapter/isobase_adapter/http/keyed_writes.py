"""Writes to Isobase carry an ``Idempotency-Key``: one whose answer was lost is asked for again, and gets that answer.

Only an Isobase that says at ``/.well-known/isobase`` that it keeps such keys is asked again, and only for
``ASKED_AGAIN_S``, while the write's intent surely holds and the writer has not moved. A refusal that comes after a lost
answer tells nothing of the first attempt; ``outcome_of_answer`` knows.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from isobase_adapter.contracts import seconds_since_boot
from isobase_adapter.http.addresses import Addresses
from isobase_adapter.http.queries import with_request
from isobase_adapter.sides import Side
from isobase_adapter.steps import Flow, Send, Wait
from isobase_adapter.writing import Outcome, outcome_of_error, outcome_of_status

__all__ = ["KeyedWrites", "outcome_of_answer"]

logger = logging.getLogger("isobase.migration")

FEATURE = "idempotency-key"
KEY_IN_USE = b"idempotency_key_in_use"
"""The code of the answer to a write whose first attempt has not ended."""
ASKED_AGAIN_S = 20.0
"""With the time until a write is first sent, and the longest of one attempt, this is no more than an intent's lease."""
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0
FEATURES_STEP_S = 2.0
FEATURES_ASKED_EVERY_S = 10.0
"""While Isobase does not say what it can do, it is asked no more often."""
GATEWAY_STATUSES = frozenset({502, 503, 504, 520, 521, 522, 523, 524})
DOUBTFUL_EXTENSION = "isobase_doubtful"


def outcome_of_answer(response: httpx.Response) -> Outcome:
    """Judge an answer of ``KeyedWrites.sent``, by its status and by what was lost before it."""
    if response.extensions.get(DOUBTFUL_EXTENSION):
        return Outcome.UNKNOWN
    return outcome_of_status(response.status_code)


@dataclass(slots=True)
class KeyedWrites:
    """Sends the first writes of one client."""

    addresses: Addresses
    _features: frozenset[str] | None = field(default=None, init=False)
    _next_asked_s: float = field(default=0.0, init=False)

    def sent(
        self, side: Side, request: httpx.Request, is_current: Callable[[], bool], on_lost: Callable[[], None]
    ) -> Flow[httpx.Response]:
        """Send a write to a side and give its answer, read whole.

        is_current: whether the writer is still the one under which the write was let in. on_lost: called for every
        attempt that is made anew, before that. Raises httpx's errors; none of
        them says that the write never left where an attempt before it may have arrived.
        """
        answer: httpx.Response
        can_be_repeated = isinstance(request.stream, httpx.ByteStream) and "idempotency-key" not in request.headers
        if side is Side.SUPABASE or not can_be_repeated or not (yield from self._keeps_keys()):
            answer = yield Send(side, request)
            return answer
        key = (b"Idempotency-Key", str(uuid.uuid4()).encode())
        keyed = with_request(request, request.url, [*request.headers.raw, key])
        ends_at_s, wait_s = seconds_since_boot() + ASKED_AGAIN_S, FIRST_WAIT_S
        is_doubtful = False
        while True:
            may_go_on = seconds_since_boot() + wait_s < ends_at_s and is_current()
            try:
                answer = yield Send(side, keyed)
            except httpx.TransportError as error:
                never_left = outcome_of_error(error) is Outcome.REFUSED
                if never_left and not is_doubtful:
                    raise  # whoever guards the write knows what to do
                if not may_go_on or isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
                    if never_left:
                        raise httpx.ReadError("the answer of a write was lost", request=keyed) from error
                    raise
                why = type(error).__name__
            else:
                if not _is_lost(answer) or not may_go_on:
                    answer.extensions[DOUBTFUL_EXTENSION] = is_doubtful and not answer.is_success
                    return answer
                why = f"status {answer.status_code}"
            is_doubtful = True
            on_lost()
            logger.info("%s %s: %s; asked again in %.2f s", keyed.method, keyed.url.path, why, wait_s)
            yield Wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _keeps_keys(self) -> Flow[bool]:
        if self._features is None and seconds_since_boot() >= self._next_asked_s:
            self._next_asked_s = seconds_since_boot() + FEATURES_ASKED_EVERY_S
            url = httpx.URL(f"{self.addresses.base(Side.SUPABASE)}.well-known/isobase")
            try:
                answer = yield Send(Side.ISOBASE, httpx.Request("GET", url), most_step_s=FEATURES_STEP_S)
            except httpx.TransportError:
                return False
            self._features = _features_of(answer)
        return self._features is not None and FEATURE in self._features


def _features_of(answer: httpx.Response) -> frozenset[str] | None:
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return None
    try:
        return frozenset(str(each) for each in json.loads(answer.content)["features"])
    except (ValueError, TypeError, LookupError):
        return frozenset()


def _is_lost(answer: httpx.Response) -> bool:
    """Whether an answer is somebody's in between, or says that the first attempt is still at work."""
    return answer.status_code in GATEWAY_STATUSES or (answer.status_code == 409 and KEY_IN_USE in answer.content)
