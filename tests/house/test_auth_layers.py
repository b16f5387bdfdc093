"""The layers that ``isobase_services.auth`` describes, kept by reading its imports."""

from __future__ import annotations

from tests.house.test_import_directions import SOURCE_ROOTS, imported_modules

AUTH = SOURCE_ROOTS["isobase_services"] / "auth"
PACKAGE = "isobase_services.auth"

LAYERS = (
    {"service"},
    {"v1", "simple"},
    {"checks", "routing", "request", "redirects"},
    {"flows", "housekeeping"},
    {"core"},
    {"hooks", "messages", "providers", "limits", "captcha", "pwned"},
    {"store"},
)
LAST = len(LAYERS)
"""The layer of every module that has no other: values, pure functions, tools."""


def layer_of(part: str) -> int:
    return next((number for number, parts in enumerate(LAYERS) if part in parts), LAST)


def test_a_layer_of_auth_imports_none_above_it() -> None:
    wrong = []
    for path in AUTH.rglob("*.py"):
        part = path.relative_to(AUTH).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for module in imported_modules(path):
            imported = module.removeprefix(f"{PACKAGE}.").partition(".")[0]
            if module.startswith(f"{PACKAGE}.") and layer_of(imported) < layer_of(part):
                wrong.append(f"{path.relative_to(AUTH)} imports {module}")
    assert wrong == []


def test_every_layer_of_auth_is_there() -> None:
    parts = {path.name.removesuffix(".py") for path in AUTH.iterdir()}
    assert set().union(*LAYERS) <= parts
