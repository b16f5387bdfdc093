"""Checking JSON bodies and query strings as upstream's validator does: the same coercions, the same words.

Clients rely on both: storage3 sends numbers as text, and suites compare messages such as
``body/expiresIn must be >= 1``. The checks here are the few keywords of JSON schema that the storage API uses, with the
coercions of Ajv as Fastify sets it up (``coerceTypes: array``); pydantic has other coercions and other words.
Source: contracts/storage.md 1.0 "Validation errors", "Coercion"; Ajv's documentation of type coercion.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from isobase_services.storage.errors import StorageError, refuse

__all__ = ["AnyOf", "Array", "Boolean", "Integer", "Number", "Object", "Schema", "Text", "When", "validate"]

_NUMBER_TEXT = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


class _Invalid(Exception):
    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


class Schema(Protocol):
    """One node of a schema."""

    def check(self, value: Any, path: str) -> Any:
        """The coerced value; raises ``_Invalid`` with one line per problem."""
        ...


@dataclass(slots=True, frozen=True)
class Text:
    """A string; numbers and booleans become one, null the empty one (unless it is allowed)."""

    choices: Sequence[str] = ()
    pattern: str | None = None
    is_nullable: bool = False

    def check(self, value: Any, path: str) -> Any:
        """See ``Schema.check``."""
        value = _single(value)
        if value is None and self.is_nullable:
            return None
        if value is None:
            value = ""
        elif isinstance(value, bool):
            value = "true" if value else "false"
        elif isinstance(value, int | float):
            value = _number_text(value)
        if not isinstance(value, str):
            raise _Invalid(f"{path} must be string")
        if self.choices and value not in self.choices:
            raise _Invalid(f"{path} must be equal to one of the allowed values")
        if self.pattern is not None and not re.search(self.pattern, value):
            raise _Invalid(f'{path} must match pattern "{self.pattern}"')
        return value


@dataclass(slots=True, frozen=True)
class Integer:
    """A whole number; its text and booleans become one, null becomes 0 (unless it is allowed)."""

    minimum: int | None = None
    maximum: int | None = None
    is_nullable: bool = False
    is_finite: bool = False
    """Upstream checks it twice, and says so twice."""

    def check(self, value: Any, path: str) -> Any:
        """See ``Schema.check``."""
        value = _single(value)
        if value is None or (value == "" and self.is_nullable):
            if self.is_nullable:
                return None
            value = 0
        number = _number(value)
        if isinstance(number, float):
            number = int(number) if number.is_integer() else None
        if number is None:
            second = (
                (f'{path} must pass "finite" keyword validation',) if self.is_finite and _number(value) is None else ()
            )
            raise _Invalid(f"{path} must be integer", *second)
        whole = number
        if self.minimum is not None and whole < self.minimum:
            raise _Invalid(f"{path} must be >= {self.minimum}")
        if self.maximum is not None and whole > self.maximum:
            raise _Invalid(f"{path} must be <= {self.maximum}")
        return whole


@dataclass(slots=True, frozen=True)
class Number:
    """A number, finite."""

    minimum: float | None = None
    maximum: float | None = None

    def check(self, value: Any, path: str) -> Any:
        """See ``Schema.check``."""
        number = _number(0 if value is None else _single(value))
        if number is None or (isinstance(number, float) and not math.isfinite(number)):
            raise _Invalid(f"{path} must be number")
        if self.minimum is not None and number < self.minimum:
            raise _Invalid(f"{path} must be >= {self.minimum}")
        if self.maximum is not None and number > self.maximum:
            raise _Invalid(f"{path} must be <= {self.maximum}")
        return number


@dataclass(slots=True, frozen=True)
class Boolean:
    """true or false; "true", "false", 1, 0 and null become one."""

    def check(self, value: Any, path: str) -> Any:
        """See ``Schema.check``."""
        value = _single(value)
        if isinstance(value, bool):
            return value
        if value is None or value == 0 or value == "false":
            return False
        if value == 1 or value == "true":
            return True
        raise _Invalid(f"{path} must be boolean")


@dataclass(slots=True, frozen=True)
class Array:
    """A list; a single value becomes a list of one."""

    items: Schema
    min_items: int = 0
    max_items: int | None = None
    is_nullable: bool = False

    def check(self, value: Any, path: str) -> Any:
        """See ``Schema.check``."""
        if value is None and self.is_nullable:
            return None
        if value is None or isinstance(value, str | int | float):
            value = [value]
        if not isinstance(value, list):
            raise _Invalid(f"{path} must be array")
        if len(value) < self.min_items:
            raise _Invalid(f"{path} must NOT have fewer than {self.min_items} items")
        if self.max_items is not None and len(value) > self.max_items:
            raise _Invalid(f"{path} must NOT have more than {self.max_items} items")
        return [self.items.check(item, f"{path}/{number}") for number, item in enumerate(value)]


@dataclass(slots=True, frozen=True)
class AnyOf:
    """The first of several schemas that fits."""

    schemas: Sequence[Schema]

    def check(self, value: Any, path: str) -> Any:
        """See ``Schema.check``."""
        problems: list[str] = []
        for schema in self.schemas:
            try:
                return schema.check(value, path)
            except _Invalid as invalid:
                problems += invalid.problems
        raise _Invalid(*problems, f"{path} must match a schema in anyOf")


@dataclass(slots=True, frozen=True)
class Object:
    """An object with known members; others are left out. ``requires_any_of``: at least one of these must be there."""

    members: Mapping[str, Schema]
    required: Sequence[str] = ()
    requires_any_of: Sequence[str] = field(default=())

    def check(self, value: Any, path: str) -> dict[str, Any]:
        """See ``Schema.check``."""
        if not isinstance(value, dict):
            raise _Invalid(f"{path} must be object")
        if self.requires_any_of and not any(name in value for name in self.requires_any_of):
            problems = [f"{path} must have required property '{name}'" for name in self.requires_any_of]
            raise _Invalid(*problems, f"{path} must match a schema in anyOf")
        for name in self.required:
            if name not in value:
                raise _Invalid(f"{path} must have required property '{name}'")
        return {
            name: schema.check(value[name], f"{path}/{name}") for name, schema in self.members.items() if name in value
        }


@dataclass(slots=True, frozen=True)
class When:
    """An object; where its ``member`` is ``value``, ``then`` has to fit too."""

    schema: Object
    member: str
    value: str
    then: Object

    def check(self, value: Any, path: str) -> dict[str, Any]:
        """See ``Schema.check``."""
        checked = self.schema.check(value, path)
        if checked.get(self.member) == self.value:
            try:
                self.then.check(checked, path)
            except _Invalid as invalid:
                raise _Invalid(*invalid.problems, f'{path} must match "then" schema') from invalid
        return checked


def validate(schema: Object | When, value: Any, where: str) -> dict[str, Any]:
    """The known members of ``value``, coerced. ``where`` is body, querystring or headers.

    Raises the validation error with upstream's text: 400, label ``Error``, code ``InvalidRequest``.
    """
    try:
        return schema.check(value, where)
    except _Invalid as invalid:
        raise validation_error(", ".join(invalid.problems)) from invalid


def validation_error(message: str) -> StorageError:
    """The refusal of a request that does not fit its schema."""
    return refuse.invalid_request(message, label="Error")


def _single(value: Any) -> Any:
    """A list of one stands for its item."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _number(value: Any) -> float | int | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and _NUMBER_TEXT.fullmatch(value):
        number = float(value)
        return int(value) if number.is_integer() and value.strip().lstrip("+-").isdigit() else number
    return None


def _number_text(number: int | float) -> str:
    """As JavaScript prints it, for what a client may send: 5.0 is 5."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e21:
        return str(int(number))
    return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(number) or str(number)
