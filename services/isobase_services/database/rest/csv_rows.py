"""A CSV body as JSON rows.

Source: PostgREST v14 ``ApiRequest/Payload.hs``. What it takes for CSV is what its library (cassava) reads: cells beyond the
header are dropped, a short row lacks the last columns, an unfinished quote ends with the text.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator

import orjson

from isobase_services.database.query.errors import RequestError

__all__ = ["MAX_CELLS", "SLICE_ROWS", "csv_rows"]

SLICE_ROWS = 2000
"""Rows between two pauses: a few milliseconds."""
_SHOWN_CHARS = 100
"""How much of what cannot be read an error repeats."""

MAX_CELLS = 10_000
"""Of one line: no table has as many columns, and a line is read without a pause."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_CELL = re.compile(r'"([^"]*(?:""[^"]*)*)("|\Z)|([^,\n\r"]*)')
_SEPARATOR = re.compile(r",|\r\n|\n|\r|\Z")


def csv_rows(text: str) -> Generator[None, None, tuple[bytes, tuple[str, ...]]]:
    """JSON text of an array of objects, and their keys; yields after every ``SLICE_ROWS``.

    A cell ``NULL`` is null. Raises PGRST102 (400) for what cannot be read and for rows of unequal length.
    """
    lines = _rows(text)
    header = next(lines)
    parts: list[bytes] = []
    objects: list[dict[str, str | None]] = []
    keys: set[str] | None = None
    for number, row in enumerate(lines, 1):
        if number % SLICE_ROWS == 0:
            if objects:
                parts.append(orjson.dumps(objects)[1:-1])
                objects.clear()
            yield
        if row == [""]:
            continue  # a blank line
        one = {name: None if cell == "NULL" else cell for name, cell in zip(header, row, strict=False)}
        if keys is None:
            keys = set(one)
        elif one.keys() != keys:
            raise RequestError("All lines must have same number of fields", code="PGRST102")
        objects.append(one)
    if objects:
        parts.append(orjson.dumps(objects)[1:-1])
    names = tuple(name for name in dict.fromkeys(header) if keys is not None and name in keys)
    return b"[" + b",".join(parts) + b"]", names


def _rows(text: str) -> Iterator[list[str]]:
    """The lines' cells. The first must have an end; one at the end of the text begins no further line."""
    if '"' not in text:
        start = 0
        for end in _LINE_END.finditer(text):
            yield _plain_cells(text[start : end.start()])
            start = end.end()
        if not start:
            raise _unreadable("not enough input", "")
        if start < len(text):
            yield _plain_cells(text[start:])
        return
    place, is_header = 0, True
    while place < len(text):
        row: list[str] = []
        separator = ","
        while separator == ",":
            cell = _CELL.match(text, place)
            assert cell is not None  # the last alternative takes nothing at all
            row.append(_cell(cell))
            _check_width(row)
            after = _SEPARATOR.match(text, cell.end())
            if after is None:
                raise _unreadable("Failed reading: satisfy", text[cell.end() :])
            separator, place = after.group(), after.end()
        if is_header and not separator:
            raise _unreadable("not enough input", "")
        is_header = False
        yield row


def _plain_cells(line: str) -> list[str]:
    cells = line.split(",", MAX_CELLS)
    _check_width(cells)
    return cells


def _check_width(cells: list[str]) -> None:
    if len(cells) > MAX_CELLS:
        raise RequestError(f"A line has more than {MAX_CELLS} fields", code="PGRST102")


def _cell(found: re.Match[str]) -> str:
    quoted, end, bare = found.groups()
    if quoted is None:
        return str(bare)
    # Where the closing quote is missing, upstream takes the last character for it.
    return str(quoted if end else quoted[:-1]).replace('""', '"')


def _unreadable(why: str, rest: str) -> RequestError:
    """Upstream's words: why, and where as its language shows texts, byte by byte."""
    shown = rest.encode().decode("latin-1")
    if len(shown) > _SHOWN_CHARS:
        at = f"{shown[:_SHOWN_CHARS]} (truncated)"
    else:
        at = f'"{"".join(_shown(letter) for letter in shown)}"'
    return RequestError(f"parse error ({why}) at {at}", code="PGRST102")


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _shown(letter: str) -> str:
    return _ESCAPES.get(letter) or (letter if " " <= letter <= "~" else f"\\{ord(letter)}")
