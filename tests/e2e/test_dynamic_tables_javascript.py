"""Tables made at run time, driven by the official supabase-js, unmodified: ``schema(NAME).from(...)`` and realtime."""

from __future__ import annotations

import subprocess

import pytest

from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.plugins.stack import Stack

STEPS = [
    "tables were made",
    "their owner read and wrote them through schema()",
    "a stranger and anon saw and changed nothing",
    "row changes reached the owner and no stranger",
    "a reader saw rows and their changes, and wrote none",
    "a changed table was there at once, and its changes were sent no more",
    "the database was dropped",
]


@pytest.mark.e2e
@pytest.mark.node
@pytest.mark.timeout(400)
def test_an_app_on_supabase_js_uses_tables_made_at_run_time(stack: Stack) -> None:
    node = node_with("@supabase")
    run = subprocess.run(
        [node, "dynamic_tables.mjs", stack.url, stack.anon_key],
        cwd=NODE_DIRECTORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (run.stdout.splitlines(), run.returncode) == (STEPS, 0), run.stderr
