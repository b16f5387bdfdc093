"""A request's plan, kept for the next request of the same shape.

``Prepared`` is all that planning found out: the SQL of one exchange, the recipe of its values, and how the outcome becomes
an answer. ``Given`` is what one request brings along. ``Plans`` keeps prepared requests for one state of the schema
cache and the settings, and only those of which a second planning, with other operands, proved that the SQL does not depend on
them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from starlette.responses import Response

from isobase_services.database.query.parameters import Bound
from isobase_services.database.query.schema_cache import SchemaCache
from isobase_services.database.rest.media import Media
from isobase_services.database.rest.request import ApiRequest
from isobase_services.database.rest.shape import Pair
from isobase_services.database.rest.statement import Outcome
from isobase_services.database.rest.timing import Stopwatch

__all__ = ["MAX_PLANS", "Given", "Plans", "Prepared"]

MAX_PLANS = 1000
"""Shapes whose plans are kept; the oldest goes first. A plan takes about ten kilobytes."""


@dataclass(slots=True, frozen=True)
class Given:
    """What a request brings beside its shape; ``offset`` 0 where the shape holds it."""

    operands: Sequence[str]
    pairs: Sequence[Pair]
    offset: int
    body: str | bytes | None
    stopwatch: Stopwatch | None


@dataclass(slots=True, frozen=True)
class Prepared:
    """A planned request. ``steps`` are run in order in one transaction; the first gives the outcome.

    ``check`` raises what the outcome is refused with; ``has_veto`` tells that nothing may be kept then. ``explained`` is set
    where the first step gives a plan. A second step gives the planner's view of the count.
    """

    steps: tuple[tuple[str, Bound], ...]
    read_only: bool
    search_path: tuple[str, ...]
    settings: Mapping[str, str]
    rolls_back: bool
    explained: Media | None
    check: Callable[[Outcome], None] | None
    has_veto: bool
    finish: Callable[[Outcome, Given], Response]

    @property
    def takes_one_exchange(self) -> bool:
        """Whether nothing has to be decided between the statement and the commit."""
        return not self.rolls_back and not self.has_veto

    @property
    def keeps_nothing(self) -> bool:
        """Whether the request leaves no trace in the database."""
        return self.read_only or self.rolls_back

    def is_like(self, other: Prepared, given: Given, other_given: Given) -> bool:
        """Whether this, with what the other was given, is the other: the same SQL with each value in its place."""
        return len(self.steps) == len(other.steps) and all(
            mine[0] == theirs[0]
            and mine[1].bind(other_given.operands, other_given.body) == list(theirs[1].constants)
            and theirs[1].bind(given.operands, given.body) == list(mine[1].constants)
            for mine, theirs in zip(self.steps, other.steps, strict=True)
        )


@dataclass(slots=True)
class Plans:
    """The kept plans of one ``cache`` and one state of the ``settings``."""

    cache: SchemaCache
    settings: object
    requests: dict[Hashable, ApiRequest] = field(default_factory=dict)
    """By the shape of the head alone: a body's keys are known only when it has been read with the request at hand."""
    prepared: dict[Hashable, Prepared] = field(default_factory=dict)

    def keep_request(self, key: Hashable, request: ApiRequest) -> None:
        """Remember what the head of a request said."""
        _make_room(self.requests)
        self.requests[key] = request

    def keep(self, key: Hashable, prepared: Prepared) -> None:
        """Remember a plan, without the values of the request that it was made for."""
        _make_room(self.prepared)
        steps = tuple((sql, bound.emptied()) for sql, bound in prepared.steps)
        self.prepared[key] = replace(prepared, steps=steps)


def _make_room(kept: dict[Hashable, ApiRequest] | dict[Hashable, Prepared]) -> None:
    if len(kept) >= MAX_PLANS:
        del kept[next(iter(kept))]
