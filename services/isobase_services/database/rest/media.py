"""Which representation the client gets: ``Accept`` against what the data API, and the database's own handlers, can write.

Source: PostgREST v14 ``MediaType.hs`` and ``Plan.hs`` negotiateContent; docs, media_type_handlers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from isobase_services.database.query.errors import RequestError
from isobase_services.database.query.media_handlers import ANY_MEDIA_TYPE, MediaHandler, MediaHandlers

__all__ = ["Builtin", "Explain", "Media", "MediaType", "accepted", "negotiate", "not_acceptable", "parse_media_type"]

JSON = "application/json"


class Builtin(Enum):
    """A representation that every relation and function has."""

    ARRAY = "array"
    ARRAY_STRIPPED = "array without nulls"
    OBJECT = "object"
    OBJECT_STRIPPED = "object without nulls"
    CSV = "csv"
    GEOJSON = "geojson"


@dataclass(slots=True, frozen=True)
class Explain:
    """``application/vnd.pgrst.plan``: how PostgreSQL would make the representation ``of``, instead of it."""

    of: MediaType
    is_json: bool
    options: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class MediaType:
    """One media type of an Accept header, in the spelling that errors and Content-Type show."""

    mime: str
    explain: Explain | None = None


@dataclass(slots=True, frozen=True)
class Media:
    """The representation that was chosen: what it is called, and what makes it."""

    mime: str
    handler: Builtin | MediaHandler
    explain: Explain | None = None

    @property
    def content_type(self) -> str:
        """The header's value; only the types that upstream knows by name say their charset."""
        is_known = self.mime in _KNOWN or self.mime in _VENDORED or self.explain is not None
        return f"{self.mime}; charset=utf-8" if is_known and self.mime != _OCTETS else self.mime

    @property
    def is_singular(self) -> bool:
        """Whether exactly one row is asked for."""
        return self.explain is None and self.handler in {Builtin.OBJECT, Builtin.OBJECT_STRIPPED}

    @property
    def embeds_as(self) -> Literal["json", "jsonb"]:
        """The type that embeds have: jsonb where their very text is part of the body. As JSON both mean the same."""
        shows_text = isinstance(self.handler, MediaHandler) or self.handler is Builtin.CSV
        return "jsonb" if shows_text else "json"


_OCTETS = "application/octet-stream"
_KNOWN = frozenset(
    {
        JSON,
        "application/geo+json",
        "text/csv",
        "text/plain",
        "text/xml",
        "application/openapi+json",
        "application/x-www-form-urlencoded",
        _OCTETS,
        ANY_MEDIA_TYPE,
    }
)
_ARRAY_STRIPPED = "application/vnd.pgrst.array+json;nulls=stripped"
_OBJECT = "application/vnd.pgrst.object+json"
_OBJECT_STRIPPED = f"{_OBJECT};nulls=stripped"
_VENDORED = {
    _ARRAY_STRIPPED: Builtin.ARRAY_STRIPPED,
    _OBJECT: Builtin.OBJECT,
    _OBJECT_STRIPPED: Builtin.OBJECT_STRIPPED,
}
_BUILTINS = {
    ANY_MEDIA_TYPE: Media(JSON, Builtin.ARRAY),
    JSON: Media(JSON, Builtin.ARRAY),
    "text/csv": Media("text/csv", Builtin.CSV),
    "application/geo+json": Media("application/geo+json", Builtin.GEOJSON),
}
_EXPLAIN_OPTIONS = ("analyze", "verbose", "settings", "buffers", "wal")

_TYPE = re.compile(r"(?:[^\W_]|[.*])+/(?:[^\W_]|[.*+-])+")
_PARAMETER = re.compile(r'\s*;\s*([A-Za-z0-9-]+)\s*=\s*("[^"]*"|[A-Za-z0-9|-]+)')


def accepted(header: str | None) -> tuple[MediaType, ...]:
    """The media types of an Accept header by quality, then by how special they are, then by place; ``*/*`` without one.

    What follows a quality is not looked at, and an empty header accepts nothing, as upstream.
    """
    if header is None:
        return (MediaType(ANY_MEDIA_TYPE),)
    if not header:
        return ()
    weighted: list[tuple[float, int, int, str]] = []
    for place, text in enumerate(header.replace(" ", "").split(",")):
        name, _, rest = text.partition(";q=")
        weighted.append((-_quality(rest.partition(";")[0]), name.count("*") - name.count(";"), place, name))
    return tuple(parse_media_type(text) for *_, text in sorted(weighted))


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def parse_media_type(text: str) -> MediaType:
    """A media type with its parameters; one that is not known, or none at all, stays as it was written."""
    found = _TYPE.match(text)
    if found is None:
        return MediaType(text)
    name = found.group().lower()
    parameters: dict[str, str] = {}
    place = found.end()
    while (parameter := _PARAMETER.match(text, place)) is not None:
        parameters[parameter.group(1).lower()] = parameter.group(2).strip('"')
        place = parameter.end()
    if name in _KNOWN:
        return MediaType(name)
    is_stripped = parameters.get("nulls") == "stripped"
    match name:
        case "application/vnd.pgrst.array+json" | "application/vnd.pgrst.array":
            return MediaType(_ARRAY_STRIPPED if is_stripped else JSON)
        case "application/vnd.pgrst.object+json" | "application/vnd.pgrst.object":
            return MediaType(_OBJECT_STRIPPED if is_stripped else _OBJECT)
        case "application/vnd.pgrst.plan" | "application/vnd.pgrst.plan+text" | "application/vnd.pgrst.plan+json":
            return _explain(name.endswith("+json"), parameters.get("for", JSON), parameters.get("options", ""))
    return MediaType(text)


def _explain(is_json: bool, of: str, options: str) -> MediaType:
    wanted = options.split("|")
    explain = Explain(parse_media_type(of), is_json, tuple(one for one in _EXPLAIN_OPTIONS if one in wanted))
    shown = f"; options={'|'.join(explain.options)}" if explain.options else ""
    kind = "json" if is_json else "text"
    return MediaType(f'application/vnd.pgrst.plan+{kind}; for="{explain.of.mime}"{shown}', explain)


def negotiate(
    accept: Sequence[MediaType],
    handlers: MediaHandlers,
    target: tuple[str, str],
    *,
    selects_all: bool,
    allows_explain: bool = False,
) -> Media:
    """The first acceptable representation of ``target`` that there is. Raises PGRST107 (406) where there is none.

    ``selects_all``: whether whole rows are asked for, which a handler of this very relation needs; ``allows_explain``:
    whether plans may be shown.
    """
    for one in accept:
        found = _media(one, handlers, target, selects_all=selects_all, allows_explain=allows_explain)
        if found is not None:
            return found
    raise not_acceptable(accept)


def not_acceptable(accept: Sequence[MediaType]) -> RequestError:
    """PGRST107 (406)."""
    shown = ", ".join(one.mime for one in accept)
    return RequestError(f"None of these media types are available: {shown}", code="PGRST107", status=406)


def _media(
    one: MediaType, handlers: MediaHandlers, target: tuple[str, str], *, selects_all: bool, allows_explain: bool
) -> Media | None:
    if one.explain is not None:
        of = one.explain.of
        if not allows_explain or of.explain is not None:
            return None
        explained = _media(of, handlers, target, selects_all=selects_all, allows_explain=False)
        return Media(one.mime, explained.handler, one.explain) if explained is not None else None
    if one.mime in _VENDORED:
        return Media(one.mime, _VENDORED[one.mime])
    keys = [(target, ANY_MEDIA_TYPE), (target, one.mime)] if selects_all else []
    for key in (*keys, (None, one.mime)):
        handler = handlers.get(key)
        if handler is not None:
            return Media(parse_media_type(handler.produces).mime, handler)
    return _BUILTINS.get(one.mime)
