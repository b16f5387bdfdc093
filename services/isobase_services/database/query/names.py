"""Names that come with a request, as PostgreSQL would take them."""

from __future__ import annotations

from isobase_platform.sql import MAX_IDENTIFIER_BYTES, quote_identifier
from isobase_services.database.query.errors import RequestError

__all__ = ["UniqueNames", "cut", "identifier"]

SUFFIX_BYTES = 12
"""Room that a row's name keeps for what tells it from others."""


def identifier(name: str) -> str:
    """A column, alias or key of a request, quoted; what is too long for a name is cut, as PostgreSQL cuts it for upstream.

    Raises ``RequestError`` 42601 (400) for an empty one.
    """
    if not name:
        raise RequestError('zero-length delimited identifier at or near """"', code="42601")
    return quote_identifier(cut(name, MAX_IDENTIFIER_BYTES))


def cut(name: str, size: int) -> str:
    """The beginning of ``name`` that takes at most ``size`` bytes, in whole characters."""
    return name if len(name) * 4 <= size else name.encode()[:size].decode(errors="ignore")


class UniqueNames:
    """Names of the generated SQL, unique within one statement."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str, depth: int, *, suffix: int | None = None) -> str:
        """``wanted`` itself at depth 0, ``wanted_1`` one level below, ...; quoted. A number more where that is taken.

        ``suffix``: what stands for the depth then.
        """
        short = cut(wanted, MAX_IDENTIFIER_BYTES - SUFFIX_BYTES)
        name = wanted if depth == 0 else f"{short}_{depth}"
        while name in self._taken:
            # Two embeds of one relation, or a relation that is really called name_1.
            name = f"{short}_{depth if suffix is None else suffix}_{len(self._taken)}"
        self._taken.add(name)
        return quote_identifier(name)
