"""The body that changes a table, as pydantic models. Neighbour: ``bodies``, for what makes one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from isobase_services.database.dynamic.bodies import (
    Body,
    ColumnBody,
    ColumnTypeText,
    CommentText,
    Expression,
    IndexBody,
    Policies,
    ReferenceBody,
)
from isobase_services.database.dynamic.models import Access, ColumnChange, Missing, TableChange

__all__ = ["ColumnChangeBody", "ColumnsChangeBody", "IndexesChangeBody", "TableChangeBody"]

MAX_CHANGES = 1600
"""PostgreSQL's own limit of columns."""


class ColumnChangeBody(Body):
    """What is to become of a column; what is not given stays. `default`, `references` and `check` are taken away by null."""

    name: str
    type: ColumnTypeText | None = None
    nullable: bool | None = None
    default: JsonValue = None
    unique: bool | None = None
    references: ReferenceBody | None = None
    check: Expression | None = None

    def change(self) -> ColumnChange:
        """As the plain value of the inner stages."""
        given, missing = self.model_fields_set, Missing.MISSING
        reference = self.references.spec() if self.references is not None else None
        return ColumnChange(
            name=self.name,
            type=missing if self.type is None else self.type,
            is_nullable=missing if self.nullable is None else self.nullable,
            default=self.default if "default" in given else missing,
            is_unique=missing if self.unique is None else self.unique,
            references=reference if "references" in given else missing,
            check=self.check if "check" in given else missing,
        )


class ColumnsChangeBody(Body):
    """Columns: first dropped, then renamed, then changed by their new names, then added."""

    drop: Annotated[tuple[str, ...], Field(max_length=MAX_CHANGES, strict=False)] = ()
    rename: Annotated[dict[str, str] | None, Field(max_length=MAX_CHANGES, description="Old name -> new name")] = None
    change: Annotated[tuple[ColumnChangeBody, ...], Field(max_length=MAX_CHANGES, strict=False)] = ()
    add: Annotated[tuple[ColumnBody, ...], Field(max_length=MAX_CHANGES, strict=False)] = ()


class IndexesChangeBody(Body):
    """Indexes: dropped by name before columns change, added after."""

    drop: Annotated[tuple[str, ...], Field(max_length=MAX_CHANGES, strict=False)] = ()
    add: Annotated[tuple[IndexBody, ...], Field(max_length=MAX_CHANGES, strict=False)] = ()


class TableChangeBody(Body):
    """What is to become of a table, all of it or nothing; what is not given stays."""

    name: str | None = None
    comment: Annotated[CommentText | None, Field(description="null takes it away")] = None
    realtime: Annotated[bool | None, Field(description="Whether realtime sends the table's changes")] = None
    access: Access | None = None
    policies: Annotated[Policies | None, Field(description="Instead of the policies that there are; access custom")] = (
        None
    )
    columns: ColumnsChangeBody | None = None
    indexes: IndexesChangeBody | None = None

    def change(self) -> TableChange:
        """As the plain value of the inner stages."""
        columns, indexes = self.columns or ColumnsChangeBody(), self.indexes or IndexesChangeBody()
        access = self.access or (Access.CUSTOM if self.policies is not None else None)
        return TableChange(
            drop_indexes=tuple(indexes.drop),
            drop_columns=tuple(columns.drop),
            rename_columns=tuple((columns.rename or {}).items()),
            change_columns=tuple(column.change() for column in columns.change),
            add_columns=tuple(column.spec() for column in columns.add),
            add_indexes=tuple(index.spec() for index in indexes.add),
            access=access,
            policies=tuple(policy.spec() for policy in self.policies or ()),
            is_live=self.realtime,
            comment=self.comment if "comment" in self.model_fields_set else Missing.MISSING,
            name=self.name,
        )
