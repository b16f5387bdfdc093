"""Reading JSON as the standard has it: Python also takes NaN and Infinity, and makes an infinity of 1e999."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

__all__ = ["load_finite", "refuse_constant"]


def refuse_constant(name: str) -> NoReturn:
    """``parse_constant`` for ``json``: raises ``ValueError`` for ``NaN``, ``Infinity`` and ``-Infinity``."""
    raise ValueError(f"{name} is no JSON")


def load_finite(text: str | bytes) -> Any:
    """The value that ``text`` spells.

    Raises ``ValueError`` for what is no JSON and for numbers beyond a float's, which could not be written again, and
    ``RecursionError`` for a value nested too deep.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    elif text.startswith("\ufeff"):
        raise json.JSONDecodeError("Unexpected byte order mark", text, 0)
    return _decode(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


# Made once: json.loads makes a decoder for each call whose options are not its own.
_decode = json.JSONDecoder(parse_constant=refuse_constant, parse_float=_finite).decode
