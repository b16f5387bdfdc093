"""The bodies of the simple data face as pydantic models: the edge where outside data is checked.

Unknown fields are refused: a misspelt ``nullable`` would otherwise make another table than was asked for.
"""

from __future__ import annotations

from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from isobase_platform.errors import BadRequest
from isobase_services.database.dynamic.column_types import ColumnType
from isobase_services.database.dynamic.models import (
    Access,
    ColumnSpec,
    DatabaseRole,
    OnDelete,
    ReferenceSpec,
    TableSpec,
)

__all__ = ["ColumnBody", "DatabaseBody", "MemberBody", "NewMemberBody", "ReferenceBody", "TableBody", "read_body_model"]

MAX_DATABASE_NAME_LENGTH_CHARS = 63
MAX_SHOWN_PROBLEMS = 10


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DatabaseBody(_Body):
    """A database to make."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_DATABASE_NAME_LENGTH_CHARS,
            pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$",
            description="What you call it, unique among your own; 1 to 63 characters, not only spaces",
            examples=["inventory"],
        ),
    ]


class ReferenceBody(_Body):
    """A foreign key to the `id` of a table of the same database."""

    table: Annotated[str, Field(examples=["shelves"])]
    on_delete: OnDelete = OnDelete.NO_ACTION


class ColumnBody(_Body):
    """A column beside id, created_at and owner."""

    name: Annotated[str, Field(examples=["title"])]
    type: ColumnType
    nullable: bool = True
    default: Annotated[
        JsonValue,
        Field(description="A JSON value of the column's type, or now() for timestamptz and gen_random_uuid() for uuid"),
    ] = None
    unique: bool = False
    references: ReferenceBody | None = None

    def spec(self) -> ColumnSpec:
        """As the plain value of the inner stages."""
        reference = self.references
        return ColumnSpec(
            name=self.name,
            type=self.type,
            is_nullable=self.nullable,
            default=self.default,
            is_unique=self.unique,
            references=ReferenceSpec(reference.table, reference.on_delete) if reference is not None else None,
        )


class TableBody(_Body):
    """A table to make."""

    name: Annotated[str, Field(examples=["items"])]
    columns: list[ColumnBody]
    access: Access = Access.PRIVATE

    def spec(self) -> TableSpec:
        """As the plain value of the inner stages."""
        return TableSpec(self.name, tuple(column.spec() for column in self.columns), self.access)


class MemberBody(_Body):
    """What a user is to be in a database."""

    role: DatabaseRole


class NewMemberBody(MemberBody):
    """A user who is to be a member of a database."""

    user_id: Annotated[UUID, Field(strict=False)]


_Model = TypeVar("_Model", bound=BaseModel)


def read_body_model(model: type[_Model], raw: bytes) -> _Model:
    """Parse a JSON body into ``model``. Raises 400: ``invalid_json``, or ``invalid_body`` naming the fields at fault."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        if problems[0]["type"] == "json_invalid":
            raise BadRequest("The request body is not valid JSON", code="invalid_json") from None
        shown = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
            for problem in problems[:MAX_SHOWN_PROBLEMS]
        )
        raise BadRequest("The request body is not valid", code="invalid_body", details=shown) from None
