"""Types of the running sample project, written by the command and used with the Python client."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from isobase import create_client
from isobase_deploy.cli import main
from tests.plugins.stack import Stack

pytestmark = pytest.mark.e2e


def test_the_running_projects_types_fit_its_rows(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "field_notes_types.py"
    workdir = ["--workdir", str(stack.project_dir)]
    assert main(["gen", "types", "--lang", "python", "--output", str(path), *workdir]) == 0
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    types = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(types)
    with create_client(stack.url, stack.service_role_key) as client:
        projects = client.table("projects", model=types.PublicProjects).select().limit(3).execute()
        assert all(isinstance(project, types.PublicProjects) for project in projects.data)
    assert main(["gen", "types", "--local", *workdir]) == 0
    written = capsys.readouterr().out
    assert "export type Database = {" in written
    assert "      projects: {\n        Row: {" in written
