"""Reports of a move as one readable page: a summary first, then tables. No script, no picture, nothing from elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Page", "Section", "duration_text", "moment_text", "page_html", "page_text", "printable", "size_text"]

MIN_COLUMN_WIDTH = 8
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ page.title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
body { color: #1c2024; background: #fff }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.5rem }
.made { color: #60646c; margin-top: 0 }
.verdict { padding: .8rem 1rem; border-left: .4rem solid #8d8d8d; background: #f4f4f5; font-weight: 600 }
.good { border-color: #2b9a66 } .bad { border-color: #ce2c31 } .warn { border-color: #ab6400 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem } dt { color: #60646c } dd { margin: 0 }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e0e1e6 }
td { max-width: 45rem; overflow-wrap: break-word }
.number { text-align: right; font-variant-numeric: tabular-nums }
@media (prefers-color-scheme: dark) {
  body { color: #edeef0; background: #111113 } .verdict { background: #212225 } th, td { border-color: #363a3f }
  .made, dt { color: #b0b4ba } }
</style>
</head>
<body>
<h1>{{ page.title }}</h1>
<p class="made">{{ made }}</p>
<p class="verdict {{ page.tone }}">{{ page.verdict }}</p>
<dl>{% for name, value in page.facts %}<dt>{{ name }}</dt><dd>{{ shown(value) }}</dd>{% endfor %}</dl>
{% for section in page.sections if section.rows %}
<h2>{{ section.title }}</h2>
{% if section.note %}<p>{{ section.note }}</p>{% endif %}
<div class="wide"><table>
<thead><tr>{% for name in section.columns %}
<th scope="col"{% if loop.index0 in section.numbers %} class="number"{% endif %}>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in section.rows %}<tr>
{% for value in row %}<td{% if value is number %} class="number"{% endif %}>{{ shown(value) }}</td>{% endfor %}
</tr>
{% endfor %}</tbody>
</table></div>
{% endfor %}
</body>
</html>
"""


@dataclass(slots=True, frozen=True)
class Section:
    """A table of a report."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    @property
    def numbers(self) -> frozenset[int]:
        """The columns that hold numbers alone, by their place."""
        return frozenset(
            place for place in range(len(self.columns)) if all(isinstance(row[place], int | float) for row in self.rows)
        )


@dataclass(slots=True, frozen=True)
class Page:
    """A report. ``tone``: ``good``, ``warn`` or ``bad``; ``facts``: the summary's names and values."""

    title: str
    verdict: str
    tone: str
    facts: Sequence[tuple[str, Any]] = ()
    sections: Sequence[Section] = field(default=())


def page_html(page: Page) -> str:
    """Give the page as HTML; every value is escaped. Needs jinja2."""
    from jinja2 import Environment

    made = datetime.now(UTC).strftime("Made %Y-%m-%d %H:%M UTC")
    return Environment(autoescape=True).from_string(_TEMPLATE).render(page=page, made=made, shown=shown)


def page_text(page: Page, *, most_rows: int = 50, width: int | None = None) -> str:
    """Give the page as plain text for a terminal; of long tables the first rows.

    width: columns that there are; what is wider goes on in its cell's next line. None: as wide as it comes.
    """
    lines = [page.title, page.verdict, ""]
    name_width = max((len(name) for name, _ in page.facts), default=0)
    lines += [f"{name:<{name_width}}  {shown(value)}" for name, value in page.facts]
    for section in page.sections:
        if not section.rows:
            continue
        rows = [[printable(shown(value)) for value in row] for row in section.rows[:most_rows]]
        lines += ["", section.title, *([section.note] if section.note else [])]
        lines += _table_lines([list(section.columns), *rows], section.numbers, width)
        if len(section.rows) > most_rows:
            lines.append(f"... and {len(section.rows) - most_rows} more; a report file has them all")
    return "\n".join(lines)


def _table_lines(rows: Sequence[Sequence[str]], numbers: frozenset[int], width: int | None) -> Iterator[str]:
    """Lay out rows in columns.

    Where they are too wide, heads are broken first, then the cells of the widest column.
    """
    places = range(len(rows[0]))
    widths = [max(len(row[place]) for row in rows) for place in places]
    words = [max(map(len, head.split()), default=0) for head in rows[0]]
    floors = [max([words[place], *(len(row[place]) for row in rows[1:])]) for place in places]
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        loose = [place for place in places if widths[place] > floors[place]]
        widest = max(loose or places, key=widths.__getitem__)
        if not loose and widths[widest] <= MIN_COLUMN_WIDTH:
            break
        widths[widest] -= 1
    for row in rows:
        cells = [
            textwrap.wrap(cell, widths[place], break_on_hyphens=False) if len(cell) > widths[place] else [cell]
            for place, cell in enumerate(row)
        ]
        for number in range(max(map(len, cells))):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            laid = (
                part.rjust(widths[place]) if place in numbers else part.ljust(widths[place])
                for place, part in enumerate(parts)
            )
            yield "  ".join(laid).rstrip()


def shown(value: Any) -> str:
    """Give a value as people read it."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def moment_text(moment: str) -> str:
    """Give a moment, which ISO 8601 says, for people."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def printable(text: str) -> str:
    """Keys and names are users' own: what a terminal would act upon is shown as a sign."""
    return (
        text
        if text.isprintable()
        else "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    )


def size_text(size_bytes: float) -> str:
    """Give a size for people, such as ``1.5 MiB``."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{int(size)} bytes" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """Give a duration for people, such as ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{max(seconds, 0):.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
