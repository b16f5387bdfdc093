"""The resumable protocol (TUS 1.0.0 as supabase/storage speaks it), as a generator that does no I/O.

:func:`resumable_upload` yields what is to be done next (an :data:`Event`) and is sent what came of it.
``_async/_resumable.py`` drives it.

    begin     POST    Upload-Length (or Upload-Defer-Length), Upload-Metadata      -> 201 Location
    send      PATCH   Upload-Offset, the bytes from there                          -> 204 Upload-Offset
    ask       HEAD    after anything was lost                                      -> 200 Upload-Offset
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeAlias, TypeVar, cast

import httpx

from isobase.storage._options import FileSettings
from isobase.storage._transfer import is_passing_status
from isobase.storage._url import StorageUrl
from isobase.storage.exceptions import StorageApiError, TransferError, resumable_error

__all__ = [
    "Answer",
    "Ask",
    "Event",
    "Load",
    "Loaded",
    "Look",
    "Moved",
    "Outcome",
    "Remember",
    "ResumableTarget",
    "Wait",
    "resumable_upload",
]

TUS_VERSION: Final = "1.0.0"
GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
FINAL: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.CONFLICT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    }
)
"""After these the same upload cannot succeed any more; after others (a token that expired) it can go on later."""
MAX_LOSSES: Final = 3


@dataclass(slots=True, frozen=True)
class ResumableTarget:
    """Where an upload goes; ``token``: of a signed URL, in the place of the caller's own."""

    base: StorageUrl
    bucket: str
    key: str
    settings: FileSettings
    token: str | None = None

    @property
    def endpoint(self) -> StorageUrl:
        """Where uploads begin."""
        return self.base.joinpath("upload", "resumable", *(["sign"] if self.token else []))

    def headers(self) -> dict[str, str]:
        """Give the headers of every request."""
        headers = {name.lower(): value for name, value in self.settings.extra_headers.items()}
        headers["tus-resumable"] = TUS_VERSION
        if self.settings.upsert:
            headers["x-upsert"] = "true"
        if self.token:
            headers["x-signature"] = self.token
        return headers

    def url_of(self, location: str) -> str:
        """Give the address of an upload: always at the endpoint, so that a token goes to no other host.

        Servers behind a proxy name their own host in ``Location``, and the last segment is the upload's id.
        """
        return f"{self.endpoint}/{location.partition('?')[0].rstrip('/').rpartition('/')[2]}"

    def fingerprint(self, file: str, subject: str | None) -> str:
        """Give what tells this upload from all others: what, where to, how, and whose."""
        parts = [str(self.endpoint), self.bucket, self.key, file, subject or "", repr(self.settings)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(slots=True, frozen=True)
class Load:
    """Have the bytes from ``offset`` on ready; answered by :class:`Loaded`."""

    offset: int


@dataclass(slots=True, frozen=True)
class Loaded:
    """Bytes up to ``end`` are ready; ``total`` is the file's size, as soon as it is known."""

    end: int
    total: int | None


@dataclass(slots=True, frozen=True)
class Ask:
    """Send a request, with the bytes from ``offset`` to ``end`` where there are any; answered by what came of it."""

    method: str
    url: str
    headers: Mapping[str, str]
    offset: int = 0
    end: int = 0


@dataclass(slots=True, frozen=True)
class Wait:
    """Count a failed attempt and wait before the next; ``error`` is to be raised if there may be none."""

    error: Exception
    retry_after: str | None = None


@dataclass(slots=True, frozen=True)
class Look:
    """Find out whether the object is there with all its bytes; answered by a bool."""


@dataclass(slots=True, frozen=True)
class Remember:
    """The upload has this URL from now on; None: it is to be forgotten."""

    url: str | None


@dataclass(slots=True, frozen=True)
class Moved:
    """The server has this many bytes."""

    offset: int


@dataclass(slots=True, frozen=True)
class Answer:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


Event: TypeAlias = Load | Ask | Wait | Look | Remember | Moved
Outcome: TypeAlias = Answer | httpx.TransportError | Loaded | bool | None
Result = TypeVar("Result")
Steps: TypeAlias = Generator[Event, Outcome, Result]


def _ask(ask: Ask) -> Steps[Answer | httpx.TransportError]:
    outcome = yield ask
    return cast("Answer | httpx.TransportError", outcome)


def _header(answer: Answer, name: str) -> str:
    value = answer.headers.get(name)
    if not value:
        raise TransferError(f"The server's answer has no {name}; it speaks no resumable uploads")
    return value


def _trouble(outcome: Answer | httpx.TransportError) -> Wait | None:
    """Give the wait that follows a lost connection, or an answer that says that the server is down; else None."""
    if not isinstance(outcome, Answer):
        return Wait(outcome)
    if is_passing_status(outcome.status) or outcome.status == HTTPStatus.LOCKED:
        return Wait(resumable_error(outcome.status, outcome.text), outcome.headers.get("retry-after"))
    return None


def _begin(target: ResumableTarget, size: int | None) -> Steps[str | StorageApiError]:
    """Begin an upload; gives its URL, or the refusal where the key is taken."""
    headers = target.headers() | {"upload-metadata": target.settings.resumable_metadata(target.bucket, target.key)}
    headers |= {"upload-defer-length": "1"} if size is None else {"upload-length": str(size)}
    while True:
        outcome = yield from _ask(Ask("POST", str(target.endpoint), headers))
        if (trouble := _trouble(outcome)) is not None:
            yield trouble
            continue
        answer = cast("Answer", outcome)
        if answer.status == HTTPStatus.CREATED:
            return target.url_of(_header(answer, "location"))
        refusal = resumable_error(answer.status, answer.text)
        if answer.status == HTTPStatus.CONFLICT:
            return refusal
        raise refusal


def _position(target: ResumableTarget, url: str, size: int | None) -> Steps[int | None]:
    """Find out how far an upload is; None: the server knows it no more, or it is another file's."""
    while True:
        outcome = yield from _ask(Ask("HEAD", url, target.headers()))
        if (trouble := _trouble(outcome)) is not None:
            yield trouble
            continue
        answer = cast("Answer", outcome)
        if answer.status in GONE:
            return None
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise resumable_error(answer.status, answer.text)
        length = answer.headers.get("upload-length")
        if length is not None and size is not None and int(length) != size:
            return None
        return _offset(_header(answer, "upload-offset"), 0, size)


def _offset(text: str, least: int, most: int | None) -> int:
    """Read how far the server is; one that has bytes which nobody sent would leave a hole in the object."""
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        raise TransferError(f"The server says {text[:20]!r} where it can have {least} to {most} bytes")
    return int(text)


def _look() -> Steps[bool]:
    return (yield Look()) is True


def resumable_upload(target: ResumableTarget, size: int | None, remembered: str | None) -> Steps[None]:
    """Upload a file; ends when the server has it whole.

    size: None where it is not known before the end. remembered: the URL of an upload that was begun before.
    Raises ``StorageApiError`` for what the server refuses, ``TransferError`` where it loses the upload again and again.
    """
    offset, losses = 0, 0
    url: str | None = None
    if remembered is not None:
        url = target.url_of(remembered)  # what was kept somewhere says no more than the answer did: an id
        known = yield from _position(target, url, size)
        if known is None:
            url = yield from _lost(target, size)
        else:
            offset = known
            yield Moved(offset)
    else:
        url = yield from _fresh(target, size)
    while url is not None:
        loaded = cast("Loaded", (yield Load(offset)))
        if loaded.total is not None and offset >= loaded.total and size is not None:
            break
        outcome = yield from _ask(_patch(target, url, offset, loaded, is_deferred=size is None))
        if isinstance(outcome, Answer) and outcome.status < HTTPStatus.BAD_REQUEST:
            offset = _offset(outcome.headers.get("upload-offset", str(loaded.end)), offset, loaded.end)
            yield Moved(offset)
            if offset == loaded.total:
                break
            continue
        known = yield from _after_failure(target, url, offset, outcome, size)
        if known is not None:
            offset = known
            if known == loaded.total:
                break
            continue
        losses += 1
        if losses > MAX_LOSSES:
            raise TransferError("The server lost the upload again and again")
        url, offset = (yield from _lost(target, size)), 0
    yield Remember(None)


def _fresh(target: ResumableTarget, size: int | None) -> Steps[str]:
    begun = yield from _begin(target, size)
    if isinstance(begun, StorageApiError):
        raise begun
    yield Remember(begun)
    return begun


def _lost(target: ResumableTarget, size: int | None) -> Steps[str | None]:
    """Go on where the server knows the upload no more: it is finished (None), or begins anew."""
    yield Remember(None)
    if (yield from _look()):
        return None
    return (yield from _fresh(target, size))


def _patch(target: ResumableTarget, url: str, offset: int, loaded: Loaded, *, is_deferred: bool) -> Ask:
    headers = target.headers() | {"upload-offset": str(offset), "content-type": "application/offset+octet-stream"}
    if is_deferred and loaded.total is not None:
        headers["upload-length"] = str(loaded.total)
    return Ask("PATCH", url, headers, offset, loaded.end)


def _after_failure(
    target: ResumableTarget, url: str, offset: int, outcome: Answer | httpx.TransportError, size: int | None
) -> Steps[int | None]:
    """Find out where to go on after bytes that were not taken; None: the upload is gone."""
    if isinstance(outcome, Answer) and outcome.status in GONE:
        return None
    if (trouble := _trouble(outcome)) is not None:
        yield trouble
        return (yield from _position(target, url, size))
    answer = cast("Answer", outcome)
    refusal = resumable_error(answer.status, answer.text)
    if answer.status == HTTPStatus.CONFLICT:
        known = yield from _position(target, url, size)
        if known != offset:
            return known
        # The offset was right, so the key itself is in conflict; perhaps with an answer of this upload that was lost.
        if (yield from _look()):
            return size if size is not None else known
    if answer.status in FINAL:
        yield Remember(None)
    raise refusal
