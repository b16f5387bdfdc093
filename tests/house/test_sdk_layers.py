"""The layers of the SDK that docs/architecture.md draws, kept by reading its imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.test_import_directions import SOURCE_ROOTS

SDK = SOURCE_ROOTS["isobase"]

PARTS = {"auth", "postgrest", "storage", "realtime", "functions", "db", "rooms", "uploads"}
LAYERS = (
    {"client", "codemod"},
    {"_async", "_sync"},
    {"lib", "types"},
    PARTS,
    {"_keys"},
    {"errors"},
    {"_face"},
    {"_bounded"},
    {"_http"},
    {"_acompat", "_deprecation", "_identity", "_making", "_quoting", "_segments", "version"},
)
# What differs between tasks and threads where no generation can tell: both forms stand in one module.
BOTH_FORMS = {
    "_acompat.py",
    "_bounded.py",
    "_http/connecting.py",
    "_http/options.py",
    "_http/streams.py",
    "_making.py",
    "auth/concurrency.py",
    "auth/events.py",
    "auth/file_storage.py",
    "auth/refresh_timer.py",
    "auth/timer.py",
    "rooms/mailbox.py",
}
WAITS_OR_SENDS = {
    "asyncio",
    "concurrent",
    "queue",
    "select",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "urllib.request",
}


def imports_when_run(path: Path) -> set[str]:
    """The modules that a module imports, also inside functions, but not what only type checkers see."""
    found: set[str] = set()

    def look(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
            for field in ("body", "orelse", "finalbody", "handlers"):
                look(getattr(node, field, []))

    look(ast.parse(path.read_text()).body)
    return found


def part_of(path: Path) -> str:
    return path.relative_to(SDK).parts[0].removesuffix(".py")


def layer_of(part: str) -> int:
    (layer,) = (number for number, parts in enumerate(LAYERS) if part in parts)
    return layer


def modules() -> list[Path]:
    return [path for path in sorted(SDK.rglob("*.py")) if path != SDK / "__init__.py"]


def is_of_one_form(path: Path) -> bool:
    return bool({"_async", "_sync"} & set(path.relative_to(SDK).parts[:-1]))


def test_every_module_has_a_layer() -> None:
    assert {part_of(path) for path in modules()} == set().union(*LAYERS)


def test_a_layer_of_the_sdk_imports_none_above_it_and_a_part_no_other_part() -> None:
    known = set().union(*LAYERS)
    wrong = []
    for path in modules():
        part = part_of(path)
        for module in imports_when_run(path):
            imported = module.removeprefix("isobase.").partition(".")[0] if module.startswith("isobase.") else part
            if imported == part or imported not in known:  # its own, or a name of the package itself
                continue
            if layer_of(imported) < layer_of(part) or {imported, part} <= PARTS:
                wrong.append(f"{path.relative_to(SDK)} imports {module}")
    assert wrong == []


def test_parts_take_the_transport_by_its_named_interface() -> None:
    wrong = [
        f"{path.relative_to(SDK)} imports {module}"
        for path in modules()
        if part_of(path) in PARTS | {"_face"}
        for module in imports_when_run(path)
        if module.startswith("isobase._http.") and (SDK / "_http" / module.split(".")[2]).with_suffix(".py").exists()
    ]
    assert wrong == []


def test_what_stands_beside_the_two_forms_neither_waits_nor_sends() -> None:
    wrong = [
        f"{path.relative_to(SDK)} imports {module}"
        for path in modules()
        if not is_of_one_form(path) and str(path.relative_to(SDK)) not in BOTH_FORMS and path.name != "__init__.py"
        for module in imports_when_run(path)
        if module in WAITS_OR_SENDS or {"_async", "_sync"} & set(module.split("."))
    ]
    # What names the two forms to users: the options with their storages, and the names of `supabase.client`.
    assert [line for line in wrong if not line.startswith(("lib/client_options.py", "client.py"))] == []


def test_the_list_of_modules_with_both_forms_is_not_longer_than_needed() -> None:
    needed = {name for name in BOTH_FORMS if imports_when_run(SDK / name) & WAITS_OR_SENDS}
    assert needed == BOTH_FORMS


@pytest.mark.parametrize("form", ["_async", "_sync"])
def test_one_form_imports_the_other_only_where_that_is_said(form: str) -> None:
    other = "_sync" if form == "_async" else "_async"
    # Sync realtime runs the async one (decision 0033); the async auth client takes storages of both kinds.
    said = {"realtime/_sync", "auth/_async"}
    wrong = {
        str(path.relative_to(SDK).parent)
        for path in modules()
        if form in path.relative_to(SDK).parts[:-1]
        for module in imports_when_run(path)
        if module.startswith("isobase.") and other in module.split(".")
    }
    assert wrong <= said


def test_the_sdk_imports_what_its_distribution_brings_and_nothing_else() -> None:
    # pydantic brings pydantic_core and typing_extensions; the others are extras, imported where they are asked for.
    brought = {"httpx", "websockets", "pydantic", "pydantic_core", "typing_extensions", "jwt"}
    asked_for = {"opentelemetry", "pyiceberg"}
    imported = {module.partition(".")[0] for path in modules() for module in imports_when_run(path) if module}
    assert imported - sys.stdlib_module_names - {"isobase"} == brought | asked_for
    project = tomllib.loads((SDK.parents[1] / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[>=]", requirement)[0] for requirement in project["dependencies"]}
    assert names == {"httpx", "websockets", "pydantic", "pyjwt"}
