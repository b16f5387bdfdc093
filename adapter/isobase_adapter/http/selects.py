"""Which relations a ``select`` of PostgREST's language embeds, by the names that stand in it. Pure."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["embedded_names"]


@lru_cache(maxsize=2048)
def embedded_names(select: str) -> tuple[tuple[str, str | None, str], ...]:
    """Give the embeds of a ``select`` as (parent's name or "" for the call's own relation, hint or None, name), outer
    ones first.

    ``alias:name!hint!inner(...)`` and ``...name(...)`` embed; ``amount.sum()`` and ``count()`` are sums.
    """
    found: list[tuple[str, str | None, str]] = []
    _embeds(select, "", found)
    return tuple(found)


def _embeds(select: str, parent: str, found: list[tuple[str, str | None, str]]) -> None:
    for item in _items(select):
        start = _opening(item)
        if start < 0 or not item.endswith(")"):
            continue
        head, inner = item[:start].strip(), item[start + 1 : -1]
        if not inner.strip() and ("." in head.lstrip(".") or head.rpartition(":")[2] == "count"):
            continue
        head = head.removeprefix("...")
        alias, colon, name = head.partition(":")
        name, *hints = (name if colon else alias).split("!")
        hint = next((each for each in hints if each not in ("inner", "left")), None)
        name = name.strip().strip('"')
        found.append((parent, hint, name))
        _embeds(inner, name, found)


def _opening(item: str) -> int:
    """Where the item's first parenthesis outside quotes is; -1: nowhere."""
    is_quoted = False
    for place, sign in enumerate(item):
        if sign == '"':
            is_quoted = not is_quoted
        elif sign == "(" and not is_quoted:
            return place
    return -1


def _items(select: str) -> list[str]:
    """Split at commas outside of parentheses and quotes."""
    items, depth, is_quoted, begin = [], 0, False, 0
    for place, sign in enumerate(select):
        if sign == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            continue
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
        elif sign == "," and depth == 0:
            items.append(select[begin:place])
            begin = place + 1
    items.append(select[begin:])
    return [item.strip() for item in items]
