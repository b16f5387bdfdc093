"""Typed rows: what the server answered becomes the model that the caller gave, a pydantic model, a dataclass or a
TypedDict.
"""

from __future__ import annotations

import sys
import typing
from functools import lru_cache
from typing import Any

import typing_extensions
from pydantic import TypeAdapter, ValidationError

from isobase.postgrest.exceptions import row_validation_error

MODELS_KEPT = 512  # adapters; an app has some per table


@lru_cache(maxsize=MODELS_KEPT)
def _adapter(model: Any, many: bool) -> TypeAdapter[Any]:
    shape: Any = _readable(model)
    return TypeAdapter(list[shape]) if many else TypeAdapter(shape)


def _readable(model: Any) -> Any:
    """Give a type that pydantic can read: before Python 3.12 it takes TypedDicts of ``typing_extensions`` alone."""
    if sys.version_info >= (3, 12):
        return model
    if typing.is_typeddict(model):
        hints = typing_extensions.get_type_hints(model, include_extras=True)
        return typing_extensions.TypedDict(  # type: ignore[operator]
            model.__name__, {name: _field(hint, name in model.__optional_keys__) for name, hint in hints.items()}
        )
    if typing.get_origin(model) is list:
        return list[_readable(typing.get_args(model)[0])]  # type: ignore[misc]
    return model


def _field(hint: Any, optional: bool) -> Any:
    """Give a field's type with the mark that says whether it has to be there: the one that it carries, else its
    class's.
    """
    origin = typing.get_origin(hint)
    if origin in (typing.NotRequired, typing_extensions.NotRequired):
        hint, optional = typing.get_args(hint)[0], True
    elif origin in (typing.Required, typing_extensions.Required):
        hint, optional = typing.get_args(hint)[0], False
    mark: Any = typing_extensions.NotRequired if optional else typing_extensions.Required
    return mark[_readable(hint)]


def model_name(model: Any) -> str:
    """Name a model in an error: a class's name, else the type as it is written."""
    return getattr(model, "__name__", None) or str(model)


def typed(content: bytes, model: Any, *, table: str, many: bool) -> Any:
    """Read JSON as one ``model`` or, with ``many``, as a list of it.

    Raises RowValidationError where it does not fit.
    """
    try:
        return _adapter(model, many).validate_json(content)
    except ValidationError as found:
        raise row_validation_error(found, table=table, model=model_name(model), many=many) from found


def typed_value(value: Any, model: Any, *, table: str) -> Any:
    """Read a value that was parsed already as one ``model``; a text for a date is taken as JSON has it.

    Raises RowValidationError where it does not fit.
    """
    try:
        return _adapter(model, False).validate_python(value)
    except ValidationError as found:
        raise row_validation_error(found, table=table, model=model_name(model), many=False) from found
