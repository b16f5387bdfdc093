"""The bodies of the simple data face as pydantic models: the edge where outside data is checked.

Unknown fields are refused: a misspelt ``nullable`` would otherwise make another table than was asked for. Neighbour:
``change_bodies``, for what changes a table.
"""

from __future__ import annotations

from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from isobase_platform.errors import BadRequest
from isobase_services.database.dynamic.column_types import BaseType, ColumnType
from isobase_services.database.dynamic.models import (
    Access,
    ColumnSpec,
    DatabaseRole,
    IndexMethod,
    IndexSpec,
    OnDelete,
    PolicyCommand,
    PolicyRole,
    PolicySpec,
    ReferenceSpec,
    TableSpec,
)

__all__ = [
    "Body",
    "ColumnBody",
    "ColumnTypeText",
    "CommentText",
    "DatabaseBody",
    "Expression",
    "IndexBody",
    "MemberBody",
    "NewMemberBody",
    "Policies",
    "PolicyBody",
    "ReferenceBody",
    "TableBody",
    "read_body_model",
]

MAX_DATABASE_NAME_LENGTH_CHARS = 63
MAX_COMMENT_LENGTH_CHARS = 1000
MAX_POLICIES = 20
MAX_SHOWN_PROBLEMS = 10


class Body(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DatabaseBody(Body):
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


class ReferenceBody(Body):
    """A foreign key to a table of the same database."""

    table: Annotated[str, Field(examples=["shelves"])]
    column: Annotated[str | None, Field(description="A unique column; default is the primary key")] = None
    on_delete: OnDelete = OnDelete.NO_ACTION

    def spec(self) -> ReferenceSpec:
        """As the plain value of the inner stages."""
        return ReferenceSpec(self.table, self.on_delete, self.column)


def _column_type(value: object) -> ColumnType:
    if not isinstance(value, str):
        raise ValueError("a column type is a text")
    return ColumnType.parse(value)


_TYPES = ", ".join(kind.value for kind in BaseType)
ColumnTypeText = Annotated[
    ColumnType,
    PlainValidator(_column_type),
    WithJsonSchema(
        {
            "type": "string",
            "description": f"One of {_TYPES}; varchar(n), numeric(p, s); a list of any with [] behind it",
            "examples": ["text", "numeric(10, 2)", "uuid[]"],
        }
    ),
]
Expression = Annotated[str, Field(description="One SQL condition over the table's columns; see docs/databases.md")]
CommentText = Annotated[str, Field(max_length=MAX_COMMENT_LENGTH_CHARS)]


class ColumnBody(Body):
    """A column beside created_at, owner and the id that a table has by itself."""

    name: Annotated[str, Field(examples=["title"])]
    type: ColumnTypeText
    nullable: bool = True
    default: Annotated[
        JsonValue,
        Field(
            description="A JSON value of the column's type; or now() for timestamptz, current_date for date,"
            " gen_random_uuid() and auth.uid() for uuid"
        ),
    ] = None
    unique: bool = False
    primary_key: Annotated[bool, Field(description="Of one column or several; without any, the table has an id")] = (
        False
    )
    identity: Annotated[bool, Field(description="PostgreSQL numbers the rows; for whole numbers")] = False
    references: ReferenceBody | None = None
    check: Expression | None = None

    def spec(self) -> ColumnSpec:
        """As the plain value of the inner stages."""
        return ColumnSpec(
            name=self.name,
            type=self.type,
            is_nullable=self.nullable and not self.primary_key,
            default=self.default,
            is_unique=self.unique,
            is_primary_key=self.primary_key,
            is_identity=self.identity,
            references=self.references.spec() if self.references is not None else None,
            check=self.check,
        )


class PolicyBody(Body):
    """Who may see or change which rows of a `custom` table."""

    command: PolicyCommand
    to: Annotated[list[PolicyRole], Field(min_length=1, max_length=2)] = [PolicyRole.AUTHENTICATED]
    using: Annotated[Expression | None, Field(description="Which rows; not for insert")] = None
    check: Annotated[Expression | None, Field(description="What a row may become; for insert and update")] = None

    def spec(self) -> PolicySpec:
        """As the plain value of the inner stages."""
        return PolicySpec(self.command, tuple(dict.fromkeys(self.to)), self.using, self.check)


Policies = Annotated[list[PolicyBody], Field(max_length=MAX_POLICIES)]


class IndexBody(Body):
    """An index over one column or several."""

    columns: Annotated[list[str], Field(min_length=1, max_length=32)]
    unique: bool = False
    method: IndexMethod = IndexMethod.BTREE
    name: str | None = None

    def spec(self) -> IndexSpec:
        """As the plain value of the inner stages."""
        return IndexSpec(tuple(self.columns), self.unique, self.method, self.name)


class TableBody(Body):
    """A table to make."""

    name: Annotated[str, Field(examples=["items"])]
    columns: list[ColumnBody]
    access: Access | None = None
    policies: Annotated[Policies, Field(description="Of a table whose access is custom")] = []
    indexes: list[IndexBody] = []
    comment: CommentText | None = None
    realtime: Annotated[bool, Field(description="Whether realtime sends the table's changes")] = False

    def spec(self) -> TableSpec:
        """As the plain value of the inner stages."""
        return TableSpec(
            self.name,
            tuple(column.spec() for column in self.columns),
            self.access or (Access.CUSTOM if self.policies else Access.PRIVATE),
            tuple(policy.spec() for policy in self.policies),
            tuple(index.spec() for index in self.indexes),
            self.comment,
            self.realtime,
        )


class MemberBody(Body):
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
            f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {_in_words(problem)}"
            for problem in problems[:MAX_SHOWN_PROBLEMS]
        )
        raise BadRequest("The request body is not valid", code="invalid_body", details=shown) from None


def _in_words(problem: ErrorDetails) -> str:
    """What is wrong, for people: without a pattern, and without the name of Python's exception."""
    if problem["type"] == "string_pattern_mismatch":
        return "String should hold more than spaces, and no control characters"
    return problem["msg"].removeprefix("Value error, ")
