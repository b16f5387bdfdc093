"""What becomes what: pairs of an old and a new beginning of a URL, checked so that a second run changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from isobase_platform.errors import ConfigurationError

__all__ = ["MAX_PREFIX_CHARS", "Prefix", "prefixes_of", "rewritten"]

MAX_PREFIX_CHARS = 2000


@dataclass(slots=True, frozen=True)
class Prefix:
    """A text that begins with ``old`` shall begin with ``new``.

    A text that begins with ``new`` is done already, also where ``new`` is a longer form of ``old``.
    """

    old: str
    new: str

    def applies_to(self, text: str) -> bool:
        """Whether ``text`` is still to be changed."""
        return text.startswith(self.old) and not (self.new.startswith(self.old) and text.startswith(self.new))


def prefixes_of(old: Sequence[str], new: Sequence[str]) -> tuple[Prefix, ...]:
    """The pairs, the longest old beginning first.

    Raises ``ConfigurationError`` where the two lists differ in length, a text is empty, too long or holds what PostgreSQL
    cannot, and where what one pair writes would be changed again by a second run.
    """
    if len(old) != len(new) or not old:
        raise ConfigurationError("--old-prefix and --new-prefix go together, one of each or more")
    for text in (*old, *new):
        if not text or len(text) > MAX_PREFIX_CHARS or "\0" in text:
            raise ConfigurationError(f"a prefix has 1 to {MAX_PREFIX_CHARS} characters and no NUL")
    pairs = [Prefix(*pair) for pair in zip(old, new, strict=True)]
    for pair in pairs:
        if pair.old.startswith(pair.new):
            raise ConfigurationError(
                f"--new-prefix {pair.new} is the beginning of --old-prefix {pair.old}: a second run could change what the"
                " first one wrote",
                hint="make both end at the same place, for instance with the bucket's name",
            )
    for one, other in itertools.permutations(pairs, 2):
        if one.old == other.old:
            raise ConfigurationError(f"--old-prefix {one.old} is given twice")
        if one.new.startswith(other.old) or other.old.startswith(one.new):
            raise ConfigurationError(f"--new-prefix {one.new} would be changed again by --old-prefix {other.old}")
    return tuple(sorted(pairs, key=lambda pair: len(pair.old), reverse=True))


def rewritten(text: str, prefixes: Sequence[Prefix]) -> str:
    """``text`` with the first prefix that applies, or as it is."""
    for prefix in prefixes:
        if prefix.applies_to(text):
            return prefix.new + text[len(prefix.old) :]
    return text
