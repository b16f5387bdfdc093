"""PostgREST's configuration file: ``name = value`` lines, groups in braces, ``import``, and ``$(name)`` inside texts.

Source: the documentation of the Haskell package configurator-pg, which PostgREST reads its file with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from isobase_platform.errors import ConfigurationError

__all__ = ["FileValue", "load_file"]

FileValue: TypeAlias = "str | bool | float | tuple[FileValue, ...]"

MAX_IMPORT_DEPTH = 16

_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_NAME = re.compile(r"[^\W\d_][\w-]*(?:\.[^\W\d_][\w-]*)*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_FLAG = re.compile(r"(on|off|true|false)\b")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:([\"\\ntrb])|u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED = {'"': '"', "\\": "\\", "n": "\n", "t": "\t", "r": "\r", "b": "\b"}
_INSERTED = re.compile(r"\$(?:(\$)|\(([^)]*)\))?")


def load_file(path: Path, environment: Mapping[str, str]) -> dict[str, FileValue]:
    """The values of the file by their names, group names before a dot; of a repeated name the last.

    ``environment`` is what ``$(NAME)`` may name beside earlier values. Raises ``ConfigurationError`` with file and line.
    """
    values: dict[str, FileValue] = {}
    _load(path, "", values, environment, depth=0)
    return values


def _load(path: Path, prefix: str, values: dict[str, FileValue], environment: Mapping[str, str], *, depth: int) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"cannot read the configuration file {path}: {reason}") from error
    if depth > MAX_IMPORT_DEPTH:
        raise ConfigurationError(f"the configuration file {path} is imported in a circle")
    for name, value in _Reader(path, text).directives(prefix):
        if name == "":
            assert isinstance(value, str)
            imported = path.parent / _filled(path, value, prefix, values, environment)
            _load(imported, prefix, values, environment, depth=depth + 1)
        elif isinstance(value, str):
            group = name.rpartition(".")[0]
            values[name] = _filled(path, value, f"{group}." if group else "", values, environment)
        else:
            values[name] = value


def _filled(path: Path, text: str, prefix: str, values: Mapping[str, FileValue], environment: Mapping[str, str]) -> str:
    """``text`` with each ``$(name)`` replaced, by the nearest value of that name or by the environment's."""

    def replace(found: re.Match[str]) -> str:
        if found.group(1):
            return "$"
        name = found.group(2)
        if name is None:
            raise ConfigurationError(f'{path}: a "$" in a text is written "$$"')
        groups = prefix.rstrip(".").split(".") if prefix else []
        for count in range(len(groups), -1, -1):
            value = values.get(".".join([*groups[:count], name]))
            if isinstance(value, str):
                return value
            if isinstance(value, float):
                return str(int(value)) if value.is_integer() else str(value)
        if name not in environment:
            raise ConfigurationError(f"{path}: no such variable: '{name}'")
        return environment[name]

    return _INSERTED.sub(replace, text)


class _Reader:
    """Reads one file's directives in their order."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._at = 0

    def directives(self, prefix: str, *, in_group: bool = False) -> Iterator[tuple[str, FileValue]]:
        """(name, value) pairs; the name is empty for an import, whose value is the file's name."""
        while True:
            self._skip()
            if self._at == len(self._text):
                if in_group:
                    raise self._error("a group is not closed")
                return
            if in_group and self._take("}"):
                return
            yield from self._directive(prefix)

    def _directive(self, prefix: str) -> Iterator[tuple[str, FileValue]]:
        name = self._match(_NAME)
        if name is None:
            raise self._error("expecting a name")
        self._skip()
        if name.group() == "import" and self._text.startswith('"', self._at):
            yield "", self._value()
        elif self._take("{"):
            yield from self.directives(f"{prefix}{name.group()}.", in_group=True)
        elif self._take("="):
            self._skip()
            yield f"{prefix}{name.group()}", self._value()
        else:
            raise self._error('expecting "=" or "{"')

    def _value(self) -> FileValue:
        if (text := self._match(_TEXT)) is not None:
            return _ESCAPE.sub(self._unescaped, text.group(1))
        if (flag := self._match(_FLAG)) is not None:
            return flag.group() in {"on", "true"}
        if (number := self._match(_NUMBER)) is not None:
            return float(number.group())
        if self._take("["):
            return tuple(self._members())
        raise self._error("expecting a text in quotes, a number, true, false, on, off or a list")

    def _members(self) -> Iterator[FileValue]:
        self._skip()
        if self._take("]"):
            return
        while True:
            self._skip()
            yield self._value()
            self._skip()
            if self._take("]"):
                return
            if not self._take(","):
                raise self._error('expecting "," or "]"')

    def _unescaped(self, found: re.Match[str]) -> str:
        simple, code, other = found.groups()
        if other is not None:
            raise self._error(f"no such escape: \\{other}")
        return _ESCAPED[simple] if simple is not None else chr(int(code, 16))

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _take(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _skip(self) -> None:
        self._match(_SPACE)

    def _error(self, problem: str) -> ConfigurationError:
        line = self._text.count("\n", 0, self._at) + 1
        return ConfigurationError(f"{self._path}, line {line}: {problem}")
