"""What a start imports stays light: heavy libraries come with the first request that needs them, the parts of the client
with their first use.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "aiosmtplib",
    "anycrc",
    "authlib",
    "boto3",
    "botocore",
    "httpx",
    "jinja2",
    "pyvips",
    "qrcode",
    "segno",
    "webauthn",
}
SERVICES = ("auth", "database", "storage", "realtime")


def test_no_service_imports_a_heavy_library_before_it_is_needed() -> None:
    modules = [
        "isobase_deploy.gateway",
        *(f"isobase_services.{name}" for name in SERVICES),
        "isobase_services.storage.service",
    ]
    assert HEAVY & {name.partition(".")[0] for name in modules_after(f"import {', '.join(modules)}")} == set()


def modules_after(program: str) -> set[str]:
    """Run a program in an interpreter of its own; gives what is imported at its end."""
    program = f"{program}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_client_imports_nothing_but_its_names() -> None:
    before = modules_after("import importlib, typing")
    assert {
        name
        for name in modules_after("import importlib, typing, isobase") - before
        if name.partition(".")[0] not in sys.stdlib_module_names
    } == {"isobase", "isobase.version"}


def test_importing_the_adapter_imports_nothing_but_its_names() -> None:
    before = modules_after("import importlib, typing")
    loaded = modules_after("import importlib, typing, isobase_adapter") - before
    roots = {name.partition(".")[0] for name in loaded}
    assert roots - sys.stdlib_module_names == {"isobase_adapter"}


def test_the_command_starts_without_the_adapter() -> None:
    loaded = {name.partition(".")[0] for name in modules_after("import isobase_deploy.cli")}
    assert loaded & {"isobase_adapter", "supabase", "asyncpg", "openfeature", "rich"} == set()


MAKES_A_CLIENT = "import isobase; client = isobase.create_client('http://localhost:1', 'sb_publishable_key')"


@pytest.mark.parametrize(
    ("used", "loads"),
    [
        ("", set()),
        ("client.table('notes').select('*')", {"postgrest"}),
        ("client.storage.from_('photos')", {"storage"}),
        ("client.functions", {"functions"}),
        ("client.channel('room')", {"realtime"}),
        ("client.db", {"db"}),
        ("client.rooms", {"rooms"}),
        ("client.uploads", {"uploads"}),
    ],
    ids=["made", "table", "storage", "functions", "channel", "db", "rooms", "uploads"],
)
def test_a_part_of_the_client_is_loaded_when_it_is_first_used(used: str, loads: set[str]) -> None:
    loaded = modules_after(f"{MAKES_A_CLIENT}\n{used}")
    parts = {"postgrest", "storage", "functions", "realtime", "db", "rooms", "uploads"}
    assert {part for part in parts if f"isobase.{part}" in loaded} == loads
    heavy = {"cryptography", "jwt", "opentelemetry", "h2"} | (
        set() if loads & {"realtime", "rooms"} else {"websockets"}
    )
    assert heavy & {name.partition(".")[0] for name in loaded} == set()
