"""Compare each public place of supabase-py's packages with what stands at the same place of the SDK.

A difference is a place with a sentence. What the SDK has beyond upstream is none: names, fields and keyword arguments that
have a default. docs/sdk/differences.md lists the differences there are, with their reasons; its tables are read here.
"""

from __future__ import annotations

import fnmatch
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from isobase.codemod import PACKAGES

from .description import Place, places_of

__all__ = ["DIFFERENCES_PAGE", "UPSTREAM", "Difference", "Row", "differences", "listed"]

UPSTREAM = ("supabase", "supabase_auth", "postgrest", "storage3", "realtime", "supabase_functions")
DIFFERENCES_PAGE = Path(__file__).parents[3] / "docs" / "sdk" / "differences.md"
# Texts that name the release or the library itself.
OF_THE_RELEASE = re.compile(r"(^|\.)(__version__|version|DEFAULT_HEADERS)$")


@dataclass(slots=True, frozen=True)
class Difference:
    """One place of upstream, and what is not the same at ours."""

    place: str
    what: str


@dataclass(slots=True, frozen=True)
class Row:
    """One row of the page: patterns of places (as fnmatch has them), with the reason."""

    patterns: tuple[str, ...]
    reason: str


def listed() -> list[Row]:
    """Give the rows of the page's tables of places: those whose head begins with ``place``."""
    rows = []
    of_places = False
    for line in DIFFERENCES_PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        of_places = line.startswith("|") and (of_places or cells[0] == "place")
        if of_places and (patterns := tuple(re.findall(r"`([^`]+)`", cells[0]))):
            rows.append(Row(patterns, cells[-1]))
    return rows


def row_of(difference: Difference, rows: list[Row]) -> Row | None:
    """Give the first row that one of whose patterns the difference's place matches."""
    for row in rows:
        if any(fnmatch.fnmatchcase(difference.place, pattern) for pattern in row.patterns):
            return row
    return None


def _ours(upstream_module: str) -> str:
    root, dot, rest = upstream_module.partition(".")
    return f"{PACKAGES[root]}{dot}{rest}"


@cache
def _by_class_name(package: str) -> dict[str, str]:
    """Give the module of every class that a package's ``_async`` and ``_sync`` modules define, by its name."""
    found: dict[str, str] = {}
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, prefix=f"{package}."):
        if re.search(r"\._(async|sync)\b", module.name):
            for name, value in vars(importlib.import_module(module.name)).items():
                if inspect.isclass(value) and value.__module__ == module.name:
                    found.setdefault(name, module.name)
    return found


@cache
def _places_at(module: str) -> dict[str, Place]:
    """Give what stands in one module of the SDK, by name within it: classes wherever they are defined."""
    from . import description

    loaded = importlib.import_module(module)
    places: dict[str, Place] = {}
    for name in {*dir(loaded), *getattr(loaded, "__all__", ())}:
        value = getattr(loaded, name, None)
        if inspect.isclass(value):
            places.update(description._class(name, value))
        elif inspect.isfunction(value):
            described = description._callable(value, "function")
            if described is not None:
                places[name] = described
        elif value is not None and not inspect.ismodule(value):
            one = next(iter(description._value(name, value)), None)
            if one is not None:
                places[one[0]] = one[1]
    return places


def _module_of(place: str, modules: frozenset[str]) -> str:
    head = place
    while head not in modules:
        head = head.rpartition(".")[0]
    return head


def _parameters(theirs: Place, ours: Place) -> Iterator[str]:
    assert theirs.parameters is not None
    if ours.parameters is None:
        yield "is not callable"
        return
    named = {parameter.name: parameter for parameter in ours.parameters}
    takes_any = any(parameter.kind == "VAR_KEYWORD" for parameter in ours.parameters)
    positional = [p.name for p in theirs.parameters if p.kind in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")]
    our_positional = [p.name for p in ours.parameters if p.kind in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")]
    if our_positional[: len(positional)] != positional:
        yield f"positional parameters are ({', '.join(our_positional)}), upstream's ({', '.join(positional)})"
    for parameter in theirs.parameters:
        mine = named.get(parameter.name)
        if mine is None:
            if parameter.kind not in ("VAR_KEYWORD", "VAR_POSITIONAL") and not takes_any:
                yield f"has no parameter {parameter.name}"
            continue
        if mine.default != parameter.default and not (parameter.default is None and mine.default is not None):
            yield f"{parameter.name}'s default is {mine.default}, upstream's {parameter.default}"
        if mine.type != parameter.type and not _is_wider(mine.type, parameter.type):
            yield f"{parameter.name} is of type {mine.type}, upstream's {parameter.type}"
    theirs_named = {parameter.name for parameter in theirs.parameters}
    for mine in ours.parameters:
        if mine.name not in theirs_named and mine.default is None and not mine.kind.startswith("VAR"):
            yield f"needs a parameter {mine.name}"


def _as_bare(ours: str, theirs: str) -> str:
    """Give our type with ``dict`` for ``dict[str, Any]`` where upstream says a bare ``dict``, and so for other generics."""
    bare = ours
    for name in re.findall(r"\b(\w+)\b(?!\[)", theirs):
        bare = re.sub(rf"\b{name}\[[^\[\]]*\]", name, bare)
    return ours if bare == ours else " | ".join(sorted(bare.split(" | ")))


def _is_wider(ours: str, theirs: str) -> bool:
    """Tell whether a parameter takes all that upstream's takes."""
    if theirs == "?" or ours in ("Any", "object"):
        return True
    parts = set(ours.split(" | "))
    return all(part in parts or any(_takes(mine, part) for mine in parts) for part in theirs.split(" | "))


def _takes(ours: str, theirs: str) -> bool:
    """Tell whether one part of a type takes another's values: more literals, any mapping for a dict."""
    values = re.compile(r"'[^']*'|\d+")
    if ours.startswith("Literal[") and theirs.startswith("Literal["):
        return set(values.findall(theirs)) <= set(values.findall(ours))
    if ours == "str":
        return theirs.startswith("Literal['")
    if ours == "float" and theirs == "int":
        return True
    if theirs in ("dict", "list", "Callable") and ours.startswith((f"{theirs}[", "Mapping[", "Sequence[")):
        return True  # upstream names no parts
    if ours.startswith("Mapping[") and theirs.startswith("dict["):
        (key, value), (their_key, their_value) = (text.partition("[")[2][:-1].split(", ", 1) for text in (ours, theirs))
        return key == their_key and value in (their_value, "Any", "object")
    return False


def _compare(theirs: Place, ours: Place) -> Iterator[str]:
    if theirs.kind != ours.kind and {theirs.kind, ours.kind} != {"method", "function"}:
        yield f"is a {ours.kind}, upstream's a {theirs.kind}"
        return
    for fact, value in theirs.facts.items():
        mine = ours.facts.get(fact)
        if fact == "bases":
            wanted = [
                base for base in value.split(" > ") if base in _NOTICED_BASES or base.endswith(("Error", "Exception"))
            ]
            missing = [base for base in wanted if base not in (mine or "").split(" > ")]
            if missing:
                yield f"does not inherit from {', '.join(missing)}"
        elif mine != value:
            yield f"{fact} is {mine}, upstream's {value}" if mine is not None else f"has no {fact}"
    if theirs.parameters is not None:
        yield from _parameters(theirs, ours)
    gives = theirs.owner if ours.returns == "Self" and theirs.owner == theirs.returns else ours.returns
    if theirs.returns not in ("?", "", "Any") and _as_bare(gives, theirs.returns) != theirs.returns:
        yield f"gives {ours.returns}, upstream's {theirs.returns}"


_NOTICED_BASES = frozenset(
    {"str", "int", "Enum", "StrEnum", "dict", "list", "BaseModel", "ABC", "Exception", "Response"}
)


def differences(package: str) -> list[Difference]:
    """Give every difference between one of upstream's packages and its counterpart."""
    theirs = places_of(package)
    root = importlib.import_module(package)
    modules = frozenset(
        {package, *(found.name for found in pkgutil.walk_packages(root.__path__, prefix=f"{package}."))}
    )
    found: list[Difference] = []
    for place, described in theirs.items():
        if OF_THE_RELEASE.search(place):
            continue
        module = _module_of(place, modules)
        name = place[len(module) + 1 :]
        target = _ours(module)
        try:
            counterpart = _places_at(target)
        except ModuleNotFoundError:
            counterpart = {}
        if name.partition(".")[0] not in counterpart and re.search(r"\._(async|sync)\b", module):
            elsewhere = _by_class_name(PACKAGES[package]).get(name.partition(".")[0])
            counterpart = _places_at(elsewhere) if elsewhere else {}
            if elsewhere is None and described.kind in ("name of", "value", "type", "function"):
                continue  # a private module's imports are nobody's face
        mine = counterpart.get(name)
        if mine is None:
            if not _named_only(described, module):
                found.append(Difference(place, "is missing"))
        elif described.kind != "name of":
            found += [Difference(place, what) for what in _compare(described, mine)]
    return found


def _named_only(described: Place, module: str) -> bool:
    """Tell whether a place is only a name that a module below the package imported for its own use."""
    return (
        described.kind == "name of"
        and "." in module
        and not module.endswith((".client", ".types", ".errors", ".exceptions"))
    )
