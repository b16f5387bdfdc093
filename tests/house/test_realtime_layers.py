"""The layers of ``isobase_services.realtime``, kept by reading its imports: service, faces, sessions, changes, core, wire."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.test_import_directions import SOURCE_ROOTS, imported_modules

REALTIME = SOURCE_ROOTS["isobase_services"] / "realtime"
PACKAGE = "isobase_services.realtime"

LAYERS = (
    {"service"},
    {"metrics", "simple"},
    # Below simple: both faces take sockets over in one way.
    {"edge"},
    {"session"},
    {"changes", "cluster"},
    {"core"},
    {"wire"},
)
PURE = {"core", "wire"}
"""Parts that do no input or output, so that they can be tested alone and never keep a socket waiting."""
VALUES_OF_THE_PLATFORM = {
    "isobase_platform.caller",
    "isobase_platform.errors",
    "isobase_platform.strict_json",
    "isobase_platform.tokens",
}
INPUT_AND_OUTPUT = {
    "aiohttp",
    "asyncpg",
    "httpx",
    "pathlib",
    "psycopg2",
    "redis",
    "select",
    "socket",
    "starlette",
    "subprocess",
    "threading",
}


def part_of(path: Path) -> str:
    return path.relative_to(REALTIME).parts[0].removesuffix(".py")


def layer_of(part: str) -> int:
    """The number of a part's layer, from above."""
    return next(number for number, parts in enumerate(LAYERS) if part in parts)


def modules_of(parts: set[str]) -> list[Path]:
    return [path for path in REALTIME.rglob("*.py") if part_of(path) in parts]


def imports_within_realtime(path: Path) -> set[str]:
    """The parts of realtime that a module imports, its own left out."""
    prefix = f"{PACKAGE}."
    found = {
        module.removeprefix(prefix).partition(".")[0] for module in imported_modules(path) if module.startswith(prefix)
    }
    return found - {part_of(path)}


def test_every_part_of_realtime_has_a_layer() -> None:
    parts = {part_of(path) for path in REALTIME.rglob("*.py")} - {"__init__"}
    assert parts == set().union(*LAYERS)


def test_a_layer_of_realtime_imports_none_above_it() -> None:
    wrong = [
        f"{path.relative_to(REALTIME)} imports {imported}"
        for path in REALTIME.rglob("*.py")
        for imported in imports_within_realtime(path)
        if part_of(path) != "__init__" and layer_of(imported) <= layer_of(part_of(path))
    ]
    assert wrong == []


def test_core_and_wire_read_values_of_the_platform_and_no_more() -> None:
    wrong = [
        f"{path.relative_to(REALTIME)} imports {module}"
        for path in modules_of(PURE)
        for module in imported_modules(path)
        if module.partition(".")[0] in INPUT_AND_OUTPUT
        or (module.startswith("isobase_platform") and module not in VALUES_OF_THE_PLATFORM)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "called", ["open", "print", "create_task", "run_in_executor", "create_connection", "to_thread"]
)
def test_core_and_wire_do_no_input_or_output(called: str) -> None:
    # core.undisturbed is the one that makes tasks: for what its callers do, not for work of its own.
    wrong = [
        f"{path.relative_to(REALTIME)}:{node.lineno} calls {called}"
        for path in modules_of(PURE)
        if (path.name, called) != ("undisturbed.py", "create_task")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and called in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    ]
    assert wrong == []
