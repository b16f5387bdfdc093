"""What a request asks for, level by level: ``select`` with filters, orders and ranges put where their paths lead.

Names mean nothing yet: that is ``plan``'s. Source: PostgREST v14 ``Plan.hs`` initReadRequest, updateNode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from isobase_services.database.query.ast import ColumnItem, Filter, LogicTree, OrderTerm, RelationItem, SelectItem
from isobase_services.database.query.errors import RequestError

__all__ = ["Wanted", "not_embedded", "wanted_tree"]

Path = tuple[str, ...]
_T = TypeVar("_T")


@dataclass(slots=True)
class Wanted:
    """One level: its columns, its embeds, and what is asked of its rows. ``item`` is None at the top."""

    item: RelationItem | None
    columns: list[ColumnItem] = field(default_factory=list)
    embeds: list[Wanted] = field(default_factory=list)
    filters: list[Filter | LogicTree] = field(default_factory=list)
    order: tuple[OrderTerm, ...] = ()
    limit: int | None = None
    offset: int | None = None


def not_embedded(name: str) -> RequestError:
    """PGRST108: a parameter speaks of what ``select`` does not embed."""
    return RequestError(
        f"'{name}' is not an embedded resource in this request",
        code="PGRST108",
        hint=f"Verify that '{name}' is included in the 'select' query parameter.",
    )


def wanted_tree(
    select: Sequence[SelectItem],
    filters: Mapping[Path, Sequence[Filter | LogicTree]],
    orders: Mapping[Path, tuple[OrderTerm, ...]],
    ranges: Mapping[Path, tuple[int | None, int | None]],
) -> Wanted:
    """The tree that ``select`` spans, with the parameters that are for its levels. Raises PGRST108.

    As upstream, an embed that a parameter is for moves before its siblings, so that parameters order what is shown; filters
    come first, then orders, ranges and logic, the last of each kind first. Of embeds that go by one name the first is meant.
    """
    root = _level(None, select)
    for path, found in _from_the_last(filters):
        simple = [one for one in found if isinstance(one, Filter)]
        if simple:
            _reach(root, path).filters.extend(simple)
    for path, terms in _from_the_last(orders):
        _reach(root, path).order = terms
    for path, (limit, offset) in _from_the_last(ranges):
        level = _reach(root, path)
        level.limit, level.offset = limit, offset
    for path, found in _from_the_last(filters):
        trees = [one for one in found if isinstance(one, LogicTree)]
        if trees:
            _reach(root, path).filters.extend(trees)
    return root


def _from_the_last(given: Mapping[Path, _T]) -> Iterable[tuple[Path, _T]]:
    return reversed(list(given.items()))


def _level(item: RelationItem | None, select: Sequence[SelectItem]) -> Wanted:
    level = Wanted(item)
    for one in select:
        if isinstance(one, RelationItem):
            level.embeds.append(_level(one, one.children))
        else:
            level.columns.append(one)
    return level


def _reach(root: Wanted, path: Path) -> Wanted:
    """The level at the end of ``path``; every level on the way moves before its siblings."""
    level = root
    for name in path:
        place = next((at for at, one in enumerate(level.embeds) if _goes_by(one, name)), None)
        if place is None:
            raise not_embedded(name)
        found = level.embeds.pop(place)
        level.embeds.insert(0, found)
        level = found
    return level


def _goes_by(level: Wanted, name: str) -> bool:
    return level.item is not None and name in {level.item.name, level.item.alias}
