"""One value of config.toml -> the value of a setting. A value that does not fit raises ``WrongTypeError``.

Text that came by ``env(NAME)`` may hold a number or a switch, as upstream's weakly typed decoding allows; so may any text.
Sizes are read as Docker reads them (``50MB`` and ``50MiB`` are both 50 * 1024 * 1024); source: docker/go-units RAMInBytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

__all__ = [
    "Converter",
    "WrongTypeError",
    "duration_s",
    "duration_s_or_none",
    "empty_table",
    "file_path",
    "file_path_of_project",
    "flag",
    "number",
    "port",
    "setting_text",
    "size_bytes",
    "sms_template",
    "text",
    "text_or_none",
    "texts",
]

Converter: TypeAlias = Callable[[object, Path], object]
"""Reads a value; the path is the folder of config.toml."""

_DOUBLY_QUOTED = re.compile(r"\{\{\s*`(\{\{[^`]*\}\})`\s*\}\}")
_SIZE = re.compile(r"(?i)\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(?:i?b)?\s*")
_SIZE_POWER = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TRUE = frozenset({"true", "1", "t"})
_FALSE = frozenset({"false", "0", "f"})
MAX_PORT = 65_535


class WrongTypeError(ValueError):
    """The message completes "KEY must be ..."."""


def flag(value: object, folder: Path) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise WrongTypeError("true or false")


def number(value: object, folder: Path) -> int:
    """A whole number that is not negative."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise WrongTypeError("a whole number, not negative")


def port(value: object, folder: Path) -> int:
    """A TCP port."""
    try:
        found = number(value, folder)
    except WrongTypeError:
        found = -1
    if not 0 < found <= MAX_PORT:
        raise WrongTypeError(f"a port from 1 to {MAX_PORT}")
    return found


def text(value: object, folder: Path) -> str:
    """A string."""
    if isinstance(value, str):
        return str(value)
    raise WrongTypeError("a string")


def text_or_none(value: object, folder: Path) -> str | None:
    """A string, where the empty one means "not given"."""
    return text(value, folder) or None


def texts(value: object, folder: Path) -> tuple[str, ...]:
    """An array of strings; a single string is split at commas, as upstream does."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(str(item) for item in value)
    raise WrongTypeError("an array of strings")


def file_path(value: object, folder: Path) -> Path:
    """A path; a relative one is below the folder of config.toml."""
    return folder / text(value, folder)


def file_path_of_project(value: object, folder: Path) -> Path:
    """A path; a relative one is below the project's folder, the one above that of config.toml."""
    return folder.parent / text(value, folder)


def sms_template(value: object, folder: Path) -> str:
    """The text of a message; the doubly quoted form that upstream's template shows means the plain one."""
    return _DOUBLY_QUOTED.sub(r"\1", text(value, folder))


def size_bytes(value: object, folder: Path) -> int:
    """Bytes, from a number or from text such as ``50MiB``."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise WrongTypeError('a size such as "50MiB"')
    return int(float(match.group(1)) * 1024 ** _SIZE_POWER[match.group(2).lower()])


def duration_s(value: object, folder: Path) -> float:
    """Seconds, from a duration as Go writes it (``1m30s``); the empty text and ``0`` are zero."""
    written = text(value, folder) if isinstance(value, str) else None
    if written in ("", "0"):
        return 0.0
    if written is None or not _DURATION.fullmatch(written):
        raise WrongTypeError('a duration such as "1m30s"')
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in _DURATION_PART.findall(written))


def duration_s_or_none(value: object, folder: Path) -> float | None:
    """As ``duration_s``, where zero means "not given"."""
    return duration_s(value, folder) or None


def empty_table(value: object, folder: Path) -> dict[str, object]:
    """A table with nothing in it: the thing exists with its defaults."""
    if value == {}:
        return {}
    raise WrongTypeError("a table")


def setting_text(value: object, folder: Path) -> str:
    """A parameter of PostgreSQL as it stands in its configuration file."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | str):
        return str(value)
    raise WrongTypeError("a string, a number or true / false")
