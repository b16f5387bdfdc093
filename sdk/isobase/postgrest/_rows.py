"""Typed rows: what the server answered becomes the model that the caller gave, a pydantic model, a dataclass or a
TypedDict.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from isobase.postgrest.exceptions import row_validation_error

MODELS_KEPT = 512  # adapters; an app has some per table


@lru_cache(maxsize=MODELS_KEPT)
def _adapter(model: Any, many: bool) -> TypeAdapter[Any]:
    return TypeAdapter(list[model] if many else model)


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
