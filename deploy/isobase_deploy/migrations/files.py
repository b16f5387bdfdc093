"""The project's SQL files: migrations in order, seed files by their patterns, roles.sql.

Names and rules are the Supabase command line's: ``<version>_<name>.sql`` with a version of digits; other files are skipped
with a word. Source: supabase/cli ``pkg/migration/list.go``, ``pkg/config`` (glob rules of ``sql_paths``).
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isobase_platform.errors import ConfigurationError

__all__ = ["MigrationFile", "list_migrations", "list_seed_files", "read_sql"]

_NAME = re.compile(r"([0-9]+)_(.*)\.sql")
_OLD_INIT = re.compile(r"([0-9]{14})_init\.sql")
_OLD_INIT_BEFORE = "20211209000000"
"""Older ``<version>_init.sql`` files were upstream's own dump of its roles; upstream skips them, and so do we."""


@dataclass(slots=True, frozen=True)
class MigrationFile:
    """One migration: its version (digits), its name, and where it is."""

    version: str
    name: str
    path: Path


def list_migrations(directory: Path) -> tuple[list[MigrationFile], list[str]]:
    """The migrations of ``directory`` in the order of their file names, and a warning for each file passed over.

    A missing directory has none. Raises ``ConfigurationError`` when two files have the same version.
    """
    found: list[MigrationFile] = []
    warnings: list[str] = []
    names = sorted(path.name for path in directory.iterdir() if path.is_file()) if directory.is_dir() else []
    for number, name in enumerate(names):
        old = _OLD_INIT.fullmatch(name)
        if number == 0 and old is not None and old.group(1) < _OLD_INIT_BEFORE:
            warnings.append(f'migration {name} is skipped: replace "init" by another name to have it applied')
            continue
        match = _NAME.fullmatch(name)
        if match is None:
            # Editors and version control leave files of their own; only an .sql file was meant to be applied.
            if name.endswith(".sql"):
                warnings.append(f"migration {name} is skipped: its name must be <timestamp>_name.sql")
            continue
        found.append(MigrationFile(match.group(1), match.group(2), directory / name))
    seen: dict[str, MigrationFile] = {}
    for file in found:
        if file.version in seen:
            raise ConfigurationError(
                f"two migrations have the version {file.version}: {seen[file.version].path.name} and {file.path.name}",
                hint="rename one of them; versions must be different",
            )
        seen[file.version] = file
    return found, warnings


def list_seed_files(supabase_dir: Path, patterns: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The files that ``patterns`` (paths or globs, relative to ``supabase_dir``) name, in the patterns' order, each once.

    Also returns a warning for each pattern that matches nothing.
    """
    found: dict[Path, None] = {}
    warnings: list[str] = []
    for pattern in patterns:
        whole = pattern if Path(pattern).is_absolute() else str(Path(glob.escape(str(supabase_dir))) / pattern)
        matches = [Path(name) for name in sorted(glob.glob(whole, recursive=True)) if Path(name).is_file()]
        if not matches:
            warnings.append(f"no file matches {pattern!r} in db.seed.sql_paths")
        found.update(dict.fromkeys(matches))
    return list(found), warnings


def read_sql(path: Path) -> str:
    """The text of an SQL file. Raises ``ConfigurationError`` when it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text (byte {error.start})") from error
