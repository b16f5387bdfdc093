"""One ``isobase start`` on a small project of its own for each test that asks for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.starting import ONE_SERVICE, postgres_pids
from tests.plugins.stack import StackProcess


@pytest.fixture
def process(project_dir: Path) -> Iterator[StackProcess]:
    (project_dir / "supabase" / "migrations").mkdir(parents=True)
    (project_dir / "supabase" / "config.toml").write_text('project_id = "test"\n')
    process = StackProcess(project_dir, environment=ONE_SERVICE)
    yield process
    process.stop()
    for pid in postgres_pids(process):
        os.kill(pid, signal.SIGKILL)
