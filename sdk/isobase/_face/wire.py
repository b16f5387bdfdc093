"""Paths and values of the simple face. No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_json

from isobase._segments import quoted_segment

__all__ = ["adapter", "json_bytes", "path", "read", "written_row"]

T = TypeVar("T")


def path(*segments: str) -> str:
    """Give a path whose segments may hold any character; raises ValueError for ``.`` and ``..``."""
    return "/" + "/".join(quoted_segment(segment) for segment in segments)


@lru_cache(maxsize=512)  # an app may make models as it runs
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Give the reader of a type, kept for the next time."""
    return TypeAdapter(kind)


def read(kind: type[T], value: object) -> T:
    """Give a JSON value as a ``kind`` (dataclass or pydantic model; ``dict`` stays as it is).

    Raises ``pydantic.ValidationError``.
    """
    if kind is dict:
        return value  # type: ignore[return-value]
    result: T = adapter(kind).validate_python(value)  # type: ignore[arg-type]
    return result


def json_bytes(value: object) -> bytes:
    """Give a body: dates, UUIDs, decimals, dataclasses and models as JSON has them."""
    return to_json(value)


def written_row(row: object) -> Mapping[str, object]:
    """Give what a row says: of a model the fields that were set, of a dataclass all but those that are None by
    default."""
    if isinstance(row, BaseModel):
        return row.model_dump(exclude_unset=True)
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {
            field.name: value
            for field in dataclasses.fields(row)
            if (value := getattr(row, field.name)) is not None or field.default is not None
        }
    if isinstance(row, Mapping):
        return row
    raise TypeError(f"a row is a mapping, a dataclass or a pydantic model, not {type(row).__name__}")
