"""Rewrite an app's imports of supabase-py's packages to Isobase's: ``python -m isobase.codemod PATH ...``.

Only import statements change, and modules' paths given as texts to ``patch``, ``setattr`` and ``import_module``. Names stay
what they were, since Isobase has them all: ``from supabase import Client`` becomes ``from isobase import Client``, and
``import supabase`` becomes ``import isobase as supabase``. docs/sdk/from-supabase-py.md tells what else an app may notice.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGES", "rewrite"]

# The packages that supabase-py is made of (and the older names of two of them), with what stands in their place.
PACKAGES = {
    "supabase": "isobase",
    "supabase_auth": "isobase.auth",
    "gotrue": "isobase.auth",
    "postgrest": "isobase.postgrest",
    "storage3": "isobase.storage",
    "realtime": "isobase.realtime",
    "supabase_functions": "isobase.functions",
    "supafunc": "isobase.functions",
}
SKIPPED_FOLDERS = frozenset({".git", ".venv", "venv", "node_modules", "site-packages", "__pycache__"})
# Calls whose first argument names a module by its path.
TAKES_PATH = frozenset({"patch", "setattr", "import_module", "importorskip"})
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@dataclass(slots=True, frozen=True)
class _Edit:
    """One replacement in the source's bytes, from ``start`` to ``end``."""

    start: int
    end: int
    text: str


def _target(module: str, packages: dict[str, str]) -> str | None:
    root, dot, rest = module.partition(".")
    return f"{packages[root]}{dot}{rest}" if root in packages else None


def _import(names: Sequence[ast.alias], packages: dict[str, str]) -> str | None:
    """Give the statement ``import ...`` anew, or None where nothing of it changes."""
    parts: list[str] = []
    changed = False
    for name in names:
        target = _target(name.name, packages)
        root = name.name.partition(".")[0]
        if target is None:
            parts.append(f"{name.name} as {name.asname}" if name.asname else name.name)
            continue
        changed = True
        if name.asname:
            parts.append(f"{target} as {name.asname}")
        else:
            # `import a.b` binds `a`: the old root's name goes on to mean the package.
            parts += [f"{packages[root]} as {root}", *([target] if target != packages[root] else [])]
    return f"import {', '.join(parts)}" if changed else None


def _nodes(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom | ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func
            name = (
                called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
            )
            if name in TAKES_PATH:
                yield node.args[0]


def _edits(source: bytes, packages: dict[str, str]) -> Iterator[_Edit]:
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in _nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            text = _import(node.names, packages)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            text = _target(node.module, packages)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
            text = _target(node.value, packages)
        else:
            continue
        if text is None:
            continue
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        if isinstance(node, ast.Import):
            yield _Edit(start, end, text)
            continue
        # Only the module's name inside the statement or the text is replaced: all else keeps its lay-out.
        old = (node.module if isinstance(node, ast.ImportFrom) else str(node.value)) or ""
        found = source.find(old.encode(), start, end)
        if found >= 0:
            yield _Edit(found, found + len(old.encode()), text)


def rewrite(source: str, *, packages: dict[str, str] | None = None) -> str:
    """Give one module's source with its imports of supabase-py's packages turned to Isobase's.

    ``packages``: old root name -> new dotted name; None means ``PACKAGES``. Raises SyntaxError where ``source`` is no Python.
    """
    data = source.encode()
    for edit in sorted(
        _edits(data, PACKAGES if packages is None else packages), key=lambda edit: edit.start, reverse=True
    ):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    return data.decode()


def _sources(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
        else:
            for found in sorted(path.rglob("*.py")):
                if not SKIPPED_FOLDERS & set(found.relative_to(path).parts):
                    yield found


def _own_modules(paths: Sequence[Path]) -> set[str]:
    """Give those of PACKAGES' names that are modules of the app itself, which keep their imports."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    return {
        name
        for name in PACKAGES
        for folder in folders
        if (folder / name / "__init__.py").is_file() or (folder / f"{name}.py").is_file()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the files below the paths of the command line.

    Gives the exit code: 1 where a file could not be read as Python, and with ``--check`` where something would change.
    """
    parser = argparse.ArgumentParser(
        prog="python -m isobase.codemod", description="Turn imports of supabase-py's packages into Isobase's."
    )
    parser.add_argument("paths", nargs="+", type=Path, help="files and folders of the app")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where something would change")
    parser.add_argument("--diff", action="store_true", help="change nothing; show what would change")
    options = parser.parse_args(arguments)
    missing = [path for path in options.paths if not path.exists()]
    if missing:
        parser.error(f"no such file or folder: {', '.join(map(str, missing))}")
    own = _own_modules(options.paths)
    packages = {old: new for old, new in PACKAGES.items() if old not in own}
    changed = failed = 0
    for path in _sources(options.paths):
        with path.open(encoding="utf-8", newline="") as file:
            before = file.read()
        try:
            after = rewrite(before, packages=packages)
        except SyntaxError as error:
            failed += 1
            sys.stderr.write(
                f"{path}: left as it is, since it is not Python this interpreter reads ({error.msg}, line {error.lineno})\n"
            )
            continue
        if after == before:
            continue
        changed += 1
        if options.diff:
            sys.stdout.writelines(
                difflib.unified_diff(
                    before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), str(path)
                )
            )
        elif not options.check:
            with path.open("w", encoding="utf-8", newline="") as file:
                file.write(after)
            sys.stdout.write(f"{path}\n")
    verb = "would change" if options.check or options.diff else "changed"
    sys.stdout.write(f"{changed} file{'' if changed == 1 else 's'} {verb}\n")
    return 1 if failed or (changed and options.check) else 0


if __name__ == "__main__":
    sys.exit(main())
