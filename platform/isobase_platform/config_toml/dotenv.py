"""The ``.env`` files that ``env(NAME)`` in config.toml may refer to.

Order as in the Supabase command line: the file's own folder before the one above; in each, ``.env.<SUPABASE_ENV>.local``,
``.env.local`` (not for the test environment), ``.env.<SUPABASE_ENV>``, ``.env``; the first that names a variable wins.
Source: supabase/cli ``pkg/config`` loadNestedEnv.
"""

from __future__ import annotations

import re
from pathlib import Path

from isobase_platform.errors import ConfigurationError

__all__ = ["dotenv_values", "parse_dotenv"]

_LINE = re.compile(
    r"""
    \s*(?:export\s+)?
    (?P<name>[A-Za-z_][A-Za-z0-9_.]*)
    \s*[=:]\s*
    (?:'(?P<single>[^']*)'
      |"(?P<double>(?:\\.|[^"\\])*)"
      |(?P<bare>(?!\s*['"])[^\n]*?))
    \s*(?:(?:(?<=\s)|(?<=['"]))\#[^\n]*)?
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def parse_dotenv(content: str, path: Path) -> dict[str, str]:
    """The variables of one file's content. Raises ``ConfigurationError`` with the line that is none."""
    values: dict[str, str] = {}
    lines = content.splitlines(keepends=True)
    number = 0
    while number < len(lines):
        first = number
        piece = lines[number].rstrip("\r\n")
        number += 1
        if not piece.strip() or piece.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(piece)
        # A quoted value may go on over several lines (a private key).
        while match is None and number < len(lines) and _opens_quote(piece):
            piece += "\n" + lines[number].rstrip("\r\n")
            number += 1
            match = _LINE.fullmatch(piece)
        if match is None:
            raise ConfigurationError(f"{path}, line {first + 1}: expected NAME=value")
        if match["single"] is not None:
            value = match["single"]
        elif match["double"] is not None:
            value = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), match["double"], flags=re.DOTALL)
        else:
            value = match["bare"].strip()
        values[match["name"]] = value
    return values


def _opens_quote(piece: str) -> bool:
    value = re.split(r"[=:]", piece, maxsplit=1)[-1].lstrip()
    return value[:1] in {"'", '"'}


def dotenv_values(folder: Path, environment_name: str) -> dict[str, str]:
    """The variables of the ``.env`` files in ``folder`` and in the one above. Raises ``ConfigurationError`` as above."""
    names = [f".env.{environment_name}.local"]
    if environment_name != "test":
        names.append(".env.local")
    names += [f".env.{environment_name}", ".env"]
    found: dict[str, str] = {}
    for place in (folder, folder.parent):
        for name in names:
            path = place / name
            try:
                content = path.read_text(encoding="utf-8-sig")
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"cannot read {path}: {error}") from error
            found = {**parse_dotenv(content, path), **found}
    return found
