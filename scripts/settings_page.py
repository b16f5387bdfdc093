"""Write docs/settings.md from the settings of isobase_platform.config: names, defaults, units and meanings.

``--check`` only compares and exits 1 when the page is out of date; ``make docs`` writes it.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from isobase_platform import config

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "settings.md"
HEAD = """# Settings

Generated from `isobase_platform.config` by `make docs`; do not edit by hand.

Sources, strongest first: flags of the command line, environment variables, `supabase/config.toml`, defaults. Nested names
are joined by `__`; lists and mappings are JSON. `DATABASE_URL` and `REDIS_URL` are read as well. A name that ends in `_s`
counts seconds, one that ends in `_bytes` bytes.
"""


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The string below each field, as written in the source of the class and of those that it extends."""
    found: dict[str, str] = {}
    for source in reversed(model.__mro__):
        if issubclass(source, BaseModel) and source.__module__.startswith("isobase"):
            found |= _meanings_of(source)
    return found


def _meanings_of(model: type[BaseModel]) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    assert isinstance(tree.body[0], ast.ClassDef)
    body = tree.body[0].body
    found: dict[str, str] = {}
    for field, below in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(below.value.value).replace("``", "`").split())
    return found


def type_name(annotation: Any) -> str:
    """A short name that a reader of the page understands."""
    origin = get_origin(annotation)
    if origin is Literal:
        return " / ".join(f"`{value}`" if value else "empty" for value in get_args(annotation))
    if origin in {Union, UnionType}:
        return type_name(next(part for part in get_args(annotation) if part is not type(None)))
    if origin is tuple:
        return f"list of {type_name(get_args(annotation)[0])}"
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return "secret"
    if origin is not None:
        return "mapping"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "boolean", "Path": "path"}
    return names.get(annotation.__name__, "mapping")


def default_text(value: Any) -> str:
    """The default as the page shows it."""
    if value is None:
        return "none"
    if isinstance(value, SecretStr):
        return "the local stack's" if value.get_secret_value() else "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value) or "none"
    return f"`{value}`" if value != "" else "empty"


def section(model: type[BaseModel], title: str, prefix: str) -> list[str]:
    """One table for the plain fields of ``model``, then one section per group."""
    told = meanings(model)
    lines = [f"\n## {title}\n", "| variable | type | default | meaning |", "|---|---|---|---|"]
    groups: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            summary = (inspect.getdoc(kind) or name).splitlines()[0].rstrip(".").replace("``", "`")
            groups += section(kind, summary, f"{prefix}{name.upper()}__")
            continue
        default = default_text(field.get_default(call_default_factory=True)) if not field.is_required() else "required"
        default = "none" if default == "`{}`" else default
        lines.append(f"| `{prefix}{name.upper()}` | {type_name(kind)} | {default} | {told.get(name, '')} |")
    return lines + groups


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join(section(config.Settings, "General", "ISOBASE_")) + "\n"


def main() -> int:
    """Write or check the page; the exit code says whether it is up to date."""
    text = page()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            print(f"{PAGE.relative_to(ROOT)} is out of date: run `make docs`")
            return 1
        return 0
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
