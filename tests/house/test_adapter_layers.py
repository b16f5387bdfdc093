"""The layers of ``isobase_adapter``, kept by reading its imports, and what its distribution brings."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from tests.house.test_import_directions import ROOT, SOURCE_ROOTS
from tests.house.test_sdk_layers import imports_when_run

ADAPTER = SOURCE_ROOTS["isobase_adapter"]
PACKAGE = "isobase_adapter"

LAYERS = (
    {"_async", "_sync", "http/_async", "http/_sync"},
    {"core"},
    {"assembly"},
    {"auth", "bulk", "recovery", "verify", "working"},
    {"drainer", "handover", "handover_desk", "handover_file", "http", "realtime", "shadow", "storage"},
    {"breakers", "carrying", "control", "flags", "outbox", "performing", "rows", "told", "writing"},
    {
        "answers",
        "breaker",
        "capabilities",
        "contracts",
        "failures",
        "handover_statements",
        "metrics",
        "poolers",
        "reasons",
        "runtime",
        "settings",
        "sides",
        "stages",
        "steps",
        "things",
        "workers",
    },
)
"""A client; what it is made of; putting that together; the move's work; what is done with calls; what that needs; values."""
SAID = {("outbox/letters.py", "isobase_adapter.shadow.censoring")}
"""Dead letters show what they hold as mismatches are shown: without secrets."""


def modules() -> list[Path]:
    return [path for path in sorted(ADAPTER.rglob("*.py")) if path != ADAPTER / "__init__.py"]


def part_of(path: Path | str) -> str:
    names = str(path).removesuffix(".py").split("/")
    return "/".join(names[:2]) if names[0] == "http" and names[1:2] in (["_async"], ["_sync"]) else names[0]


def layer_of(part: str) -> int:
    (layer,) = (number for number, parts in enumerate(LAYERS) if part in parts)
    return layer


@cache
def imports(path: Path) -> set[str]:
    """What a module imports when it is run."""
    return imports_when_run(path)


def within(path: Path) -> set[str]:
    """The adapter's own modules that a module imports when it is run."""
    return {module for module in imports(path) if module.startswith(f"{PACKAGE}.")}


def test_every_module_of_the_adapter_has_a_layer() -> None:
    assert {part_of(path.relative_to(ADAPTER)) for path in modules()} == set().union(*LAYERS)


def test_a_layer_of_the_adapter_imports_none_above_it() -> None:
    known = set().union(*LAYERS)
    wrong = []
    for path in modules():
        name = path.relative_to(ADAPTER)
        for module in within(path):
            part = part_of(module.removeprefix(f"{PACKAGE}.").replace(".", "/"))
            is_said = any(str(name) == one and module.startswith(other) for one, other in SAID)
            if part in known and layer_of(part) < layer_of(part_of(name)) and not is_said:
                wrong.append(f"{name} imports {module}")
    assert wrong == []


def test_no_modules_of_the_adapter_import_each_other_in_a_circle() -> None:
    names = {
        ".".join([PACKAGE, *path.relative_to(ADAPTER).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in modules()
    }
    graph = {name: (within(path) & set(names)) - {name} for name, path in names.items()}
    assert list(TopologicalSorter(graph).static_order())  # a circle raises CycleError, which names it


def test_the_adapter_imports_what_its_distribution_brings_and_nothing_else() -> None:
    # supabase brings its parts, what they are made of, and httpx; the SDK brings pydantic and httpx, too.
    brought = {"supabase", "postgrest", "storage3", "realtime", "supabase_functions", "yarl", "httpx", "pydantic"}
    asked_for = {"asyncpg", "openfeature"}
    only_where_it_is_there = {"opentelemetry", "jinja2"}
    imported = {module.partition(".")[0] for path in modules() for module in imports(path) if module}
    third_parties = imported - sys.stdlib_module_names - {PACKAGE, "isobase"}
    assert third_parties == brought | asked_for | only_where_it_is_there
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {re.split(r"[\[>=]", one)[0] for one in project["optional-dependencies"]["adapter"]}
    assert extra == {"supabase", "openfeature-sdk", "asyncpg", "pyjwt"}
