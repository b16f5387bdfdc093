"""Storage's calls while both sides matter: uploads to both, reads from the side that answers, URLs that lead to it.

A write goes to the writer as the app sent it, streamed; the other side then gets the object's state
(``storage.carrier``), so a body is sent once and need not be kept. Small changes are waited for, large ones go in the
background at once. URLs that the app hands to browsers are those of the side that made them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import httpx

from isobase_adapter.answers import Answer, mark
from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Snapshot, Writer
from isobase_adapter.http.addresses import Addresses
from isobase_adapter.http.bodies import content_of
from isobase_adapter.http.classify import Call, FamilyName
from isobase_adapter.http.deciding import Decider
from isobase_adapter.http.families import Acted
from isobase_adapter.http.write_fallback import WriteFallback
from isobase_adapter.performing import Writing, write_twice
from isobase_adapter.sides import Side
from isobase_adapter.stages import WriteRoute
from isobase_adapter.steps import Flow, Send
from isobase_adapter.storage.calls import change_of, record_of
from isobase_adapter.storage.reads import ObjectReads
from isobase_adapter.writing import DualWrite, Judgement, Outcome, outcome_of_status

__all__ = ["StorageFamily"]

_SLOWEST_UPLOAD_BYTES_PER_S = 50_000
"""An upload that goes slower than this may outlive its lease; it is then compared once more (docs/migration/storage.md)."""
_JSON_OPERATIONS = frozenset({"move", "copy", "bucket", "object"})


class StorageFamily:
    """The ``Family`` of storage.

    writing: what performs the dual-write protocol. fallback: what becomes of a write while Isobase is
    down. inline_max_bytes: uploads up to this size are waited for at both sides.
    """

    name = FamilyName.STORAGE

    def __init__(
        self,
        addresses: Addresses,
        decider: Decider,
        reads: ObjectReads,
        writing: Callable[[], Writing],
        fallback: WriteFallback,
        *,
        inline_max_bytes: int,
    ) -> None:
        self._addresses = addresses
        self._decider = decider
        self._reads = reads
        self._writing = writing
        self._fallback = fallback
        self._urls = {side: f"{addresses.base(side)}storage/v1" for side in Side}
        self._inline_max_bytes = inline_max_bytes

    def flow(self, request: httpx.Request, call: Call, acted: Acted) -> Flow[httpx.Response]:
        """Handle a call; see ``Family.flow``."""
        match call.operation:
            case "s3":
                return _refusal("S3 requests are signed for one host: send them to a side yourself")
            case "vector" | "iceberg" | "other":
                return (yield from self._sent(request, call, acted, acted.write_route.first))
            case "cdn":
                return (yield from self._purge(request, call, acted))
            case "upload_sign" if call.is_read:
                # The URL is for the side that is written first.
                side = acted.write_route.first
                return self._with_full_urls((yield from self._sent(request, call, acted, side)), side)
            case "sign" if call.method == "POST":
                answer, side = yield from self._reads.flow(request, call, acted, is_streamed=False)
                return self._with_full_urls(answer, side)
        if call.is_read and call.operation != "resumable":
            answer, _ = yield from self._reads.flow(request, call, acted, is_streamed=True)
            return answer
        return (yield from self._changed(request, call, acted))

    # Writes

    def _changed(self, request: httpx.Request, call: Call, acted: Acted) -> Flow[httpx.Response]:
        content = request.content if call.operation in _JSON_OPERATIONS and _is_json(request) else None
        change = change_of(call, content, _length(request), self._inline_max_bytes)
        if change is None or call.is_read:
            answer = yield from self._sent(request, call, acted, acted.write_route.first)
            return self._resumable(answer, call)

        def user_of() -> str | None:
            return self._addresses.user_of(request)

        routes = {
            self._decider.acted(Capability(Kind.BUCKET, bucket), user_of).write_route for bucket in change.buckets
        }
        if len(routes) > 1:
            named = " and ".join(change.buckets)
            return _refusal(f"The buckets {named} are at different stages of their move: move them together")
        sent: list[Side] = []

        def route(snapshot: Snapshot) -> WriteRoute:
            return self._decider.decided(snapshot, call.capability, user_of).write_route

        def send_first(side: Side) -> Flow[httpx.Response]:
            sent.append(side)
            answer: httpx.Response = yield Send(side, request)
            return answer

        def judge(answer: httpx.Response) -> Flow[Judgement]:
            yield from ()
            return Judgement(_outcome(answer), waits=not change.is_large)

        length = _length(request) or 0
        lease_s = None if length < 10 * _SLOWEST_UPLOAD_BYTES_PER_S else 120 + length / _SLOWEST_UPLOAD_BYTES_PER_S
        write = DualWrite(call.capability, record_of(call, change), change.things, route, lease_s)
        self._reads.metrics.add("writes", str(call.capability))

        def now() -> tuple[WriteRoute, Writer]:
            decided = self._decider.acted(call.capability, user_of)
            return decided.write_route, decided.writer

        def attempt() -> Flow[httpx.Response]:
            return (yield from write_twice(write, self._writing(), send_first=send_first, judge=judge))

        answer = yield from self._fallback.guarded(call.capability, now, attempt)
        is_fallback = sent[-1] is not acted.write_route.first
        mark(answer, Answer(sent[-1], str(call.capability), acted.stage, is_fallback=is_fallback))
        return self._resumable(answer, call)

    def _sent(self, request: httpx.Request, call: Call, acted: Acted, side: Side) -> Flow[httpx.Response]:
        answer: httpx.Response = yield Send(side, request)
        return mark(answer, Answer(side, str(call.capability), acted.stage))

    def _purge(self, request: httpx.Request, call: Call, acted: Acted) -> Flow[httpx.Response]:
        """A purge goes to both; the answer is that of the side that is read."""
        side = acted.read_route.answers
        answer = yield from self._sent(request, call, acted, side)
        with suppress(httpx.HTTPError):  # the other side's copies end by themselves
            yield Send(side.other, request)
        return answer

    # URLs

    def _with_full_urls(self, answer: httpx.Response, side: Side) -> httpx.Response:
        """Write Isobase's URLs whole: the official client puts Supabase's before what begins with a slash, but for a
        second URL behind that slash, which it takes as it is.
        """
        if side is Side.SUPABASE or answer.status_code != 200:
            return answer
        try:
            body = json.loads(content_of(answer))
        except ValueError:
            return answer
        for entry in body if isinstance(body, list) else [body]:
            for name in ("signedURL", "signedUrl", "url"):
                if isinstance(entry, dict) and isinstance(path := entry.get(name), str) and path.startswith("/"):
                    entry[name] = f"/{self._urls[side]}{path}"
        return _with_content(answer, json.dumps(body).encode())

    def _resumable(self, answer: httpx.Response, call: Call) -> httpx.Response:
        """Let a resumable upload go on through this client: its next requests find the writer again."""
        location = answer.headers.get("location")
        if call.operation == "resumable" and location and location.startswith(self._urls[Side.ISOBASE]):
            answer.headers["location"] = self._urls[Side.SUPABASE] + location.removeprefix(self._urls[Side.ISOBASE])
        return answer


def _length(request: httpx.Request) -> int | None:
    told = request.headers.get("content-length", "")
    if told.isdecimal():
        return int(told)
    return None if "transfer-encoding" in request.headers else 0


def _is_json(request: httpx.Request) -> bool:
    return str(request.headers.get("content-type", "")).startswith("application/json")


def _outcome(answer: httpx.Response) -> Outcome:
    """Judge by the status, and by the one in the body: storage answers 400 for its own failures too."""
    outcome = outcome_of_status(answer.status_code)
    if answer.status_code != 400:
        return outcome
    try:
        told = str(json.loads(content_of(answer)).get("statusCode", ""))
    except (ValueError, AttributeError):
        return outcome
    return Outcome.UNKNOWN if told.startswith("5") else outcome


def _with_content(answer: httpx.Response, content: bytes) -> httpx.Response:
    kept = [
        (name, value)
        for name, value in answer.headers.multi_items()
        if name.lower() not in ("content-length", "content-encoding", "transfer-encoding")
    ]
    kept.append(("content-length", str(len(content))))
    return httpx.Response(
        answer.status_code, headers=kept, stream=httpx.ByteStream(content), extensions=answer.extensions
    )


def _refusal(message: str) -> httpx.Response:
    """An error in storage's own shape."""
    body = {"statusCode": "409", "error": "MigrationConflict", "message": message}
    return httpx.Response(409, json=body)
