"""Reads ``supabase/config.toml``: its values by our settings' names, and a warning for what has no effect here.

``keys`` lists what the file may say and what becomes of it, ``values`` turns one value into its setting, ``dotenv`` finds the
``.env`` files that ``env(NAME)`` may refer to. Source: the Supabase command line's template and ``pkg/config``.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from isobase_platform.config_toml import keys
from isobase_platform.config_toml.dotenv import dotenv_values
from isobase_platform.config_toml.values import WrongTypeError
from isobase_platform.errors import ConfigurationError

__all__ = ["ProjectFile", "read_config_toml"]

_ENV = re.compile(r"env\((.*)\)")


@dataclass(slots=True, frozen=True)
class ProjectFile:
    """What one config.toml says.

    ``values``: nested mapping by the names of ``Settings``, for ``load_settings(file_values=...)``. ``warnings``: one line
    per key or section without effect. ``environment``: the names of the ``.env`` files, below the process's own.
    """

    values: Mapping[str, object]
    warnings: tuple[str, ...]
    environment: Mapping[str, str]


def read_config_toml(path: Path, *, environment: Mapping[str, str] | None = None) -> ProjectFile:
    """Read the file at ``path``; a missing one has no values.

    ``environment`` (default: the process's) resolves ``env(NAME)``, before the ``.env`` files beside ``path`` and in the
    folder above. Relative paths in the file are taken from its folder. Raises ``ConfigurationError`` that names file, line or
    key for text that is not TOML and for a value of the wrong type; a secret's value is never repeated.
    """
    given = os.environ if environment is None else environment
    from_files = dotenv_values(path.parent, given.get("SUPABASE_ENV") or "development")
    known = {**from_files, **given}
    reader = _Reader(path, known)
    reader.read(_parsed(path))
    return ProjectFile(reader.values, tuple(reader.warnings), from_files)


def _parsed(path: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error


class _Reader:
    """Goes through the leaves of one file and sorts each into values or warnings."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self._path = path
        self._environment = environment
        self._named: set[str] = set()
        self.values: dict[str, object] = {}
        self.warnings: list[str] = []

    def read(self, document: Mapping[str, object]) -> None:
        for key, value, is_off in _leaves(document):
            self._take(key, value, is_off=is_off)

    def _take(self, key: tuple[str, ...], value: object, *, is_off: bool) -> None:
        dotted = ".".join(key)
        target = keys.target_of(key)
        if target is not None:
            resolved = self._resolved(dotted, value, is_off=is_off)
            if resolved is None:
                return
            try:
                converted = target.convert(resolved, self._path.parent)
            except WrongTypeError as error:
                raise ConfigurationError(f"{self._path}: {dotted} must be {error}") from error
            self._put(target.setting, converted)
            return
        named = keys.unsupported(key, value)
        if named is not None:
            if named not in self._named:
                self._named.add(named)
                self.warnings.append(f"{self._path.name}: {named} is not supported yet and has no effect")
        elif not keys.is_known(key):
            self.warnings.append(f"{self._path.name}: unknown key {dotted}")

    def _resolved(self, dotted: str, value: object, *, is_off: bool) -> object:
        """The value with ``env(NAME)`` replaced; None where NAME is not set, with a warning unless its table is off."""
        if isinstance(value, list):
            items = [self._resolved(dotted, item, is_off=is_off) for item in value]
            return [item for item in items if item is not None]
        match = _ENV.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            return value
        found = self._environment.get(match.group(1))
        if not found:
            if not is_off:
                self.warnings.append(
                    f"{self._path.name}: {dotted} refers to the environment variable {match.group(1)}, which is not set;"
                    " its default is used"
                )
            return None
        return _FromEnvironment(found)

    def _put(self, setting: tuple[str, ...], value: object) -> None:
        place = self.values
        for name in setting[:-1]:
            below = place.setdefault(name, {})
            assert isinstance(below, dict)
            place = below
        place[setting[-1]] = value


class _FromEnvironment(str):
    """Text that came by ``env(NAME)``: a number or a switch may be written in it."""

    __slots__ = ()


def _leaves(
    table: Mapping[str, object], above: tuple[str, ...] = (), *, is_off: bool = False
) -> Iterator[tuple[tuple[str, ...], object, bool]]:
    """(key path, value, whether a table around it says ``enabled = false``) of everything that is not a table, and of
    empty tables, which say that something exists.
    """
    is_off = is_off or table.get("enabled") is False
    for name, value in table.items():
        key = (*above, name)
        if isinstance(value, dict) and value:
            yield from _leaves(value, key, is_off=is_off)
        else:
            yield key, value, is_off
