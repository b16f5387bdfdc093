"""The query string of a call of the data API, part by part as it was written: parameters may come twice, and order
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote_plus

import httpx

__all__ = ["eq_values", "parameter", "with_parameter", "with_request"]


def parts_of(url: httpx.URL) -> list[tuple[str, str]]:
    """Give the decoded parameters in order."""
    text = url.query.decode("ascii")
    pairs = (part.partition("=") for part in text.split("&") if part)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def parameter(url: httpx.URL, name: str) -> str | None:
    """Give a parameter's last value; None: it is not there."""
    return next((value for key, value in reversed(parts_of(url)) if key == name), None)


def with_parameter(url: httpx.URL, name: str, change: Callable[[str | None], str]) -> httpx.URL:
    """Give the URL with one parameter's value changed or added; the others stay as they are written."""
    kept: list[str] = []
    before: str | None = None
    for part in url.query.decode("ascii").split("&"):
        key, _, value = part.partition("=")
        if unquote_plus(key) == name:
            before = unquote_plus(value)
        elif part:
            kept.append(part)
    kept.append(f"{name}={quote(change(before), safe='*(),:.!')}")
    return url.copy_with(query="&".join(kept).encode("ascii"))


def with_request(
    request: httpx.Request,
    url: httpx.URL,
    headers: Sequence[tuple[bytes, bytes]] | None = None,
    *,
    content: bytes | None = None,
) -> httpx.Request:
    """Give a request with another URL (of the same origin) and headers; its body is shared, where no other is given."""
    given = request.headers.raw if headers is None else headers
    if content is None:
        return httpx.Request(
            request.method, url, headers=given, stream=request.stream, extensions=dict(request.extensions)
        )
    given = [(name, value) for name, value in given if name.lower() not in (b"content-length", b"transfer-encoding")]
    return httpx.Request(request.method, url, headers=given, content=content, extensions=dict(request.extensions))


def eq_values(url: httpx.URL, column: str) -> list[str] | None:
    """Give the values of a column that the call's filters leave: of ``eq`` and ``in``; None: there is no such filter.

    Other filters beside it only leave fewer rows.
    """
    for name, value in parts_of(url):
        if name.strip('"') != column:
            continue
        if value.startswith("eq."):
            return [value.removeprefix("eq.")]
        if value.startswith("in.(") and value.endswith(")"):
            return in_values(value[4:-1])
    return None


def in_values(text: str) -> list[str]:
    """Split the list of an ``in`` filter: values with commas are in double quotes, with backslashes before quotes."""
    values: list[str] = []
    current: list[str] = []
    is_quoted = was_quoted = False
    signs = iter(text)
    for sign in signs:
        if is_quoted and sign == "\\":
            current.append(next(signs, ""))
        elif sign == '"' and (is_quoted or not "".join(current).strip()):
            if not is_quoted:
                current.clear()
            is_quoted, was_quoted = not is_quoted, True
        elif sign == "," and not is_quoted:
            values.append("".join(current) if was_quoted else "".join(current).strip())
            current, was_quoted = [], False
        else:
            current.append(sign)
    if current or was_quoted or values:
        values.append("".join(current) if was_quoted else "".join(current).strip())
    return values
