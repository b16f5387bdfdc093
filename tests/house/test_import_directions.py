"""The arrows of docs/architecture.md, kept by reading every import of the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SOURCE_ROOTS = {
    "isobase_platform": ROOT / "platform" / "isobase_platform",
    "isobase_services": ROOT / "services" / "isobase_services",
    "isobase": ROOT / "sdk" / "isobase",
    "isobase_adapter": ROOT / "adapter" / "isobase_adapter",
    "isobase_deploy": ROOT / "deploy" / "isobase_deploy",
}
MAY_IMPORT = {
    "isobase_platform": set(),
    "isobase_services": {"isobase_platform"},
    "isobase": set(),
    "isobase_adapter": {"isobase"},
    "isobase_deploy": {"isobase_platform", "isobase_services", "isobase", "isobase_adapter"},
}


def imported_modules(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide the direction of an arrow"
            assert node.module is not None
            modules.add(node.module)
    return modules


@pytest.mark.parametrize("package", SOURCE_ROOTS)
def test_a_package_imports_only_the_packages_below_it(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in SOURCE_ROOTS[package].rglob("*.py")
        for module in imported_modules(path)
        if module.partition(".")[0] in SOURCE_ROOTS and module.partition(".")[0] not in allowed
    ]
    assert wrong == []


def test_every_package_has_sources_to_check() -> None:
    assert {name for name, root in SOURCE_ROOTS.items() if not list(root.rglob("*.py"))} == set()


def test_a_service_never_imports_another_service() -> None:
    services = SOURCE_ROOTS["isobase_services"]
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in services.rglob("*.py")
        if len(path.relative_to(services).parts) > 1
        for module in imported_modules(path)
        if module.startswith("isobase_services.") and module.split(".")[1] != path.relative_to(services).parts[0]
    ]
    assert wrong == []


def test_the_folder_platform_does_not_hide_the_standard_library() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()


def test_every_package_ships_its_types() -> None:
    assert {name for name, root in SOURCE_ROOTS.items() if not (root / "py.typed").exists()} == set()
