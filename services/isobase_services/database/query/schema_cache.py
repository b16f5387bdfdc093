"""What the engine knows of the database: relations, columns, relationships, functions. A frozen value, replaced whole.

``load_cache`` reads it; requests use the value they began with. Source: PostgREST docs, schema_cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from isobase_services.database.query.media_handlers import MediaHandlers
from isobase_services.database.query.representations import Representation

__all__ = [
    "Argument",
    "Cardinality",
    "Column",
    "Function",
    "Junction",
    "Relation",
    "Relationship",
    "SchemaCache",
]

WHOLE_BODY_TYPES = frozenset({"json", "jsonb", "text", "xml", "bytea"})
"""Types of an only, unnamed argument that takes the whole body of a request."""


@dataclass(slots=True, frozen=True)
class Column:
    """One column; ``type`` as declared, ``base_type`` without modifiers and with a domain's base, as format_type writes them.

    ``default`` is the SQL expression of its default, an identity column's next value among them.
    """

    name: str
    type: str
    base_type: str
    is_nullable: bool
    default: str | None
    is_generated: bool
    category: str
    is_composite: bool
    comment: str | None
    enum: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Relation:
    """A table or view of an exposed schema."""

    oid: int
    schema: str
    name: str
    kind: str
    comment: str | None
    columns: Mapping[str, Column]
    primary_key: tuple[str, ...]
    is_insertable: bool
    is_updatable: bool
    is_deletable: bool
    computed: Mapping[str, str] = field(default_factory=dict)
    """Functions over a row that read like columns: name -> type."""
    representations: Mapping[str, Representation] = field(default_factory=dict)
    """How the values of columns are shown and read, where casts of their domain say so: column name -> functions."""

    @property
    def is_view(self) -> bool:
        """A view or materialized view."""
        return self.kind in {"v", "m"}

    @property
    def types(self) -> Mapping[str, str]:
        """Name -> type of what a filter may compare: computed columns and columns."""
        return {**self.computed, **{column.name: column.base_type for column in self.columns.values()}}

    @property
    def key(self) -> tuple[str, str]:
        """(schema, name)."""
        return self.schema, self.name


class Cardinality(Enum):
    """How many rows of the target belong to one of the source; values are the words of error details."""

    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"
    ONE_TO_ONE = "one-to-one"
    MANY_TO_MANY = "many-to-many"


@dataclass(slots=True, frozen=True)
class Junction:
    """The table between the two ends of a many-to-many relationship."""

    schema: str
    name: str
    source_constraint: str
    target_constraint: str
    source_columns: tuple[str, ...]
    target_columns: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Relationship:
    """From ``source`` to ``target``, both (schema, name). ``pairs``: source column, target column.

    For many-to-many ``pairs`` are the source's columns with the junction's, and ``target_pairs`` the junction's with the
    target's.
    """

    source: tuple[str, str]
    target: tuple[str, str]
    cardinality: Cardinality
    constraint: str
    pairs: tuple[tuple[str, str], ...]
    junction: Junction | None = None
    target_pairs: tuple[tuple[str, str], ...] = ()
    is_self: bool = False
    target_is_view: bool = False
    is_reference: bool = False
    """The source holds the foreign key; for one-to-one both directions look alike but for this."""
    function: tuple[str, str] | None = None
    """(schema, name) of the function over a row of the source that gives the target's rows: a computed relationship."""

    @property
    def is_to_one(self) -> bool:
        """True where an embed is an object and not an array."""
        return self.cardinality in {Cardinality.MANY_TO_ONE, Cardinality.ONE_TO_ONE}


@dataclass(slots=True, frozen=True)
class Argument:
    """An input argument; the name is empty for an unnamed one."""

    name: str
    type: str
    is_required: bool
    is_variadic: bool


@dataclass(slots=True, frozen=True)
class Function:
    """One function (one overload)."""

    oid: int
    schema: str
    name: str
    comment: str | None
    is_volatile: bool
    returns_set: bool
    is_scalar: bool
    is_void: bool
    return_type: str
    return_relation: tuple[str, str] | None
    arguments: tuple[Argument, ...]
    types: Mapping[str, str]
    """Name -> type of the columns of what it returns; empty where that is no row."""
    settings: Mapping[str, str]

    @property
    def is_callable(self) -> bool:
        """Whether arguments can be named, or the only one takes the whole body of a request."""
        if len(self.arguments) == 1 and not self.arguments[0].name:
            return self.arguments[0].type in WHOLE_BODY_TYPES
        return all(argument.name for argument in self.arguments)


@dataclass(slots=True, frozen=True)
class SchemaCache:
    """The whole picture."""

    relations: Mapping[tuple[str, str], Relation]
    relationships: Mapping[tuple[str, str], tuple[Relationship, ...]]
    functions: Mapping[tuple[str, str], tuple[Function, ...]]
    media_handlers: MediaHandlers = field(default_factory=dict)
