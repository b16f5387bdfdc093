"""The sample project driven by the official supabase-js on Node.js, unmodified."""

from __future__ import annotations

import subprocess

import pytest

from tests.plugins.node import NODE_DIRECTORY, node_with
from tests.plugins.stack import Stack

STEPS = [
    "signed up",
    "signed in",
    "a seeded user signed in",
    "the trigger on auth.users made the profile",
    "rows were inserted",
    "rows were read with filters, order and embeds",
    "rows were updated and upserted",
    "functions were called",
    "a second user and anon saw and changed nothing",
    "a file was uploaded and downloaded under policies",
    "a public file was served and a file removed",
    "row changes reached their reader and nobody else",
    "a broadcast was received",
    "signed out",
]


@pytest.mark.e2e
@pytest.mark.node
@pytest.mark.timeout(400)
def test_an_app_on_supabase_js_does_all_of_it(stack: Stack) -> None:
    node = node_with("@supabase")
    run = subprocess.run(
        [node, "field_notes.mjs", stack.url, stack.anon_key],
        cwd=NODE_DIRECTORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (run.stdout.splitlines(), run.returncode) == (STEPS, 0), run.stderr
