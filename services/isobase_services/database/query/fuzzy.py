"""The nearest known name, for the hints of errors. Same measure as upstream, so that a hint appears when upstream's does.

Names are compared by the cosine of their letter triples (pairs where triples find nothing), the best of them again by edit
distance. Source: PostgREST v14 ``Error.hs`` for the thresholds; the FuzzySet algorithm is public.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["MAX_NAMES", "NAME_SCORE", "PARAMETERS_SCORE", "nearest", "nearest_scored"]

NAME_SCORE = 0.75
"""Least likeness (0 to 1) of a table or function that a hint may name: less would tell names of things not asked for."""
PARAMETERS_SCORE = 0.33
"""Least likeness of a parameter list or of a related table."""
MAX_NAMES = 500
"""Among more names than this none is searched: a hint is not worth that much work."""
MAX_NAME_CHARS = 200
_GRAM_SIZES = (3, 2)
_EDIT_CANDIDATES = 50


def nearest(name: str, known: Iterable[str], least_score: float = NAME_SCORE) -> str | None:
    """The best of ``known`` that is at least ``least_score`` like ``name``, or None."""
    found = nearest_scored(name, known, least_score)
    return found[0][1] if found else None


def nearest_scored(name: str, known: Iterable[str], least_score: float) -> list[tuple[float, str]]:
    """(likeness, name) of all that are at least ``least_score`` like ``name``, best first."""
    names = sorted(set(known))
    if not names or len(names) > MAX_NAMES or len(name) > MAX_NAME_CHARS:
        return []
    wanted = name.lower()
    for one in names:
        if one.lower() == wanted:
            return [(1.0, one)]
    for size in _GRAM_SIZES:
        found = _matches(wanted, names, size, least_score)
        if found:
            return found
    return []


def _matches(wanted: str, names: Sequence[str], size: int, least_score: float) -> list[tuple[float, str]]:
    grams = _grams(wanted, size)
    length = _length(grams)
    scored: list[tuple[float, str]] = []
    for one in names:
        others = _grams(one.lower(), size)
        product = sum(count * others[gram] for gram, count in grams.items())
        if product:
            scored.append((product / (length * _length(others)), one))
    scored.sort(key=lambda found: -found[0])
    refined = [(_likeness(wanted, one.lower()), one) for _, one in scored[:_EDIT_CANDIDATES]]
    refined.sort(key=lambda found: -found[0])
    return [found for found in refined if found[0] >= least_score]


def _grams(text: str, size: int) -> Counter[str]:
    padded = "-" + "".join(letter for letter in text if letter.isalnum() or letter in " ,") + "-"
    padded = padded.ljust(size, "-")
    return Counter(padded[start : start + size] for start in range(len(padded) - size + 1))


def _length(grams: Counter[str]) -> float:
    return math.sqrt(sum(count * count for count in grams.values()))


def _likeness(first: str, second: str) -> float:
    """1 for equal texts, less by each edit."""
    longest = max(len(first), len(second))
    return 1.0 - _edits(first, second) / longest if longest else 1.0


def _edits(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for place, letter in enumerate(first, start=1):
        before, row[0] = row[0], place
        for column, other in enumerate(second, start=1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (letter != other))
    return row[-1]
