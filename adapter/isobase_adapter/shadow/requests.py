"""What a read of the data API says about order: of its rows, and of those that it embeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Asked", "asked"]

EMBED = re.compile(r"(?:(\w+):)?(?:\.\.\.)?(\w+)(?:!\w+)*\(")


@dataclass(slots=True, frozen=True)
class Asked:
    """``order``: the columns that the rows are ordered by; ``embeds``: names of what is embedded, and which of them
    have an order of their own; ``is_limited``: whether only some of the rows were asked for; ``has_exact_count``: a count
    is no estimate.
    """

    order: tuple[str, ...] = ()
    embeds: frozenset[str] = frozenset()
    ordered_embeds: frozenset[str] = frozenset()
    is_limited: bool = False
    has_exact_count: bool = True


def asked(query: Sequence[tuple[str, str]], *, has_range: bool = False, has_exact_count: bool = True) -> Asked:
    """Read it from a request's query.

    has_range: whether a Range header asks for some of the rows. has_exact_count: whether Prefer asks for no estimate.
    """
    order: tuple[str, ...] = ()
    embeds: set[str] = set()
    ordered: set[str] = set()
    is_limited = has_range
    for name, value in query:
        if name == "select":
            for alias, relation in EMBED.findall(value):
                embeds.add(alias or relation)
        elif name == "order":
            order = tuple(term.split(".")[0] for term in value.split(","))
        elif name.endswith(".order"):
            ordered.add(name.split(".")[-2])
        elif name in ("limit", "offset"):
            is_limited = True
    return Asked(order, frozenset(embeds), frozenset(ordered), is_limited, has_exact_count)
