"""The layers of ``isobase_services.storage``, kept by reading its imports: service, faces, core, blobs, rules and errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.house.test_import_directions import SOURCE_ROOTS, imported_modules

STORAGE = SOURCE_ROOTS["isobase_services"] / "storage"
PACKAGE = "isobase_services.storage"

LAYERS = (
    {"service"},
    {"s3", "seed", "simple", "tus", "upkeep"},
    # Below tus: resumable uploads are routes of the Supabase face, and ask for its tokens in its words.
    {"rest"},
    {"blob_response", "http_values"},
    {"core"},
    {"render"},
    {"blob"},
)
LAST = len(LAYERS)
"""The layer of every module that has no other: errors, rules, signed tokens, bodies."""
FACES = {"rest", "s3", "simple", "tus"}
_STATEMENT = re.compile(r"\s*(select|insert into|update|delete from|with)\s+\S+\s", re.IGNORECASE)
_DATABASE = {"asyncpg", "isobase_platform.pool", "isobase_platform.rls", "isobase_platform.sql"}


def layer_of(part: str) -> int:
    return next((number for number, parts in enumerate(LAYERS) if part in parts), LAST)


def part_of(path: Path) -> str:
    return path.relative_to(STORAGE).parts[0].removesuffix(".py")


def imports_within_storage(path: Path) -> set[str]:
    """The parts of storage that a module imports, its own left out."""
    prefix = f"{PACKAGE}."
    found = {module.removeprefix(prefix).partition(".")[0] for module in imported_modules(path) if prefix in module}
    return found - {part_of(path)}


def modules_of(parts: set[str]) -> list[Path]:
    return [path for path in STORAGE.rglob("*.py") if part_of(path) in parts]


def test_a_layer_of_storage_imports_none_above_it() -> None:
    wrong = [
        f"{path.relative_to(STORAGE)} imports {imported}"
        for path in STORAGE.rglob("*.py")
        for imported in imports_within_storage(path)
        if part_of(path) != "__init__" and layer_of(imported) < layer_of(part_of(path))
    ]
    assert wrong == []


def test_faces_of_storage_know_nothing_of_each_other() -> None:
    wrong = [
        f"{path.relative_to(STORAGE)} imports {imported}"
        for path in modules_of(FACES)
        for imported in imports_within_storage(path) & FACES
        if (part_of(path), imported) != ("tus", "rest")
    ]
    assert wrong == []


def test_backends_of_blobs_know_nothing_of_each_other() -> None:
    backends = {path.name for path in (STORAGE / "blob").iterdir() if path.is_dir() and path.name != "__pycache__"}
    wrong = [
        f"{path.relative_to(STORAGE)} imports {module}"
        for backend in backends
        for path in (STORAGE / "blob" / backend).rglob("*.py")
        for module in imported_modules(path)
        if any(module.startswith(f"{PACKAGE}.blob.{other}") for other in backends - {backend})
    ]
    assert {"file", "s3"} <= backends
    assert wrong == []


def test_no_face_of_storage_speaks_to_the_database() -> None:
    wrong = []
    for path in modules_of(FACES):
        wrong += [f"{path.name} imports {module}" for module in imported_modules(path) if module in _DATABASE]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _STATEMENT.match(node.value):
                wrong.append(f"{path.name} has a statement: {node.value.strip()[:40]}")
    assert wrong == []


def test_every_layer_of_storage_is_there() -> None:
    parts = {path.name.removesuffix(".py") for path in STORAGE.iterdir()}
    assert set().union(*LAYERS) <= parts
