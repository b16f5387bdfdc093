"""The address of a storage service and of what lies below it, as an immutable value.

It has the few methods of ``yarl.URL`` that users of storage3 reach for (``joinpath``, ``with_query``, ``extend_query``,
``parent``, ``str``), encodes as that class does, and needs no library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from isobase._segments import quoted_segment

__all__ = ["StorageUrl", "object_key", "object_parts"]

PATH_SAFE = "!$&'()*+,;=:@~"
QUERY_SAFE = "?/:@!$'()*,~"


def _encoded_query(values: Mapping[str, object]) -> str:
    return urlencode([(name, str(value)) for name, value in values.items()], safe=QUERY_SAFE)


@dataclass(slots=True, frozen=True)
class StorageUrl:
    """A URL in two parts, each encoded already: all before the question mark, and the query."""

    base: str
    query_string: str = ""

    @classmethod
    def parse(cls, url: str) -> StorageUrl:
        """Take a URL as it is written."""
        base, _, query = url.partition("?")
        return cls(base, query)

    def joinpath(self, *parts: str) -> StorageUrl:
        """Give the URL of something below; each part is encoded, slashes inside one divide it further.

        Empty parts are left out, but for a last one, as ``yarl`` and storage-js do: doubled slashes name nothing.
        Raises ValueError for ``.`` and ``..``.
        """
        path = "/".join(quoted_segment(part, safe=PATH_SAFE) for part in _without_empty("/".join(parts).split("/")))
        return StorageUrl(f"{self.base.rstrip('/')}/{path}" if self.base else path)

    def with_query(self, values: Mapping[str, object] | None) -> StorageUrl:
        """Give the URL with this query instead of its own."""
        return StorageUrl(self.base, _encoded_query(values or {}))

    def extend_query(self, values: Mapping[str, object]) -> StorageUrl:
        """Give the URL with these further query values."""
        return StorageUrl(self.base, "&".join(part for part in (self.query_string, _encoded_query(values)) if part))

    def below(self, relative: str) -> StorageUrl:
        """Give the URL of a reference that the server made, such as ``/object/sign/b/key?token=t``, below this one.

        The server leaves the path in it unencoded.
        """
        path, _, query = relative.lstrip("/").partition("?")
        return StorageUrl(self.base.rstrip("/") + "/" + quote(path, safe=PATH_SAFE + "/%"), query)

    @property
    def query(self) -> dict[str, str]:
        """The query's values by name, decoded; the first of several with one name."""
        values: dict[str, str] = {}
        for name, value in parse_qsl(self.query_string, keep_blank_values=True):
            values.setdefault(name, value)
        return values

    @property
    def parent(self) -> StorageUrl:
        """The URL one step up, without a query."""
        return StorageUrl(self.base.rstrip("/").rpartition("/")[0])

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.base)
        return f"{parts.scheme}://{parts.netloc}"

    def __str__(self) -> str:
        """Give the whole URL as text."""
        return f"{self.base}?{self.query_string}" if self.query_string else self.base


def object_parts(path: str) -> tuple[str, ...]:
    """Divide an object's path into the segments of its key: decoded, without leading slashes.

    Raises ``ValueError`` for ``.`` and ``..`` segments, which would name another object than they seem to, and for
    percent signs that encode no UTF-8.
    """
    parts = unquote(path, errors="strict").lstrip("/").split("/")
    if "." in parts or ".." in parts:
        raise ValueError(f"Object keys must not contain dot segments: {path!r}")
    return tuple(parts)


def object_key(path: str) -> str:
    """Give the key that a path names."""
    return "/".join(_without_empty(object_parts(path)))


def _without_empty(parts: Sequence[str]) -> list[str]:
    return [*(part for part in parts[:-1] if part), *parts[-1:]]
