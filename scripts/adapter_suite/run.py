"""Run supabase-py's suites through a migration client in each stage, and compare with the official client's outcome.

    python -m scripts.adapter_suite.run CHECKOUT [--stages off,live] [--parts auth,storage] [--log-dir FOLDER]

CHECKOUT is a checkout of supabase-py. Its tests run on a copy, unchanged; ``plugin.py`` makes migration clients of what they
make. Two whole stacks run for it, and beside each the servers of the suites' compose files: auth four times, the data API
once. What the suites need beside the clients is installed in a venv in the checkout. Ends with 1 where a test passes with
the official client and not with a migration client.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from xml.etree import ElementTree

import httpx
import psycopg2
from scripts.auth_servers import read_layout

from isobase_adapter.stages import Stage, writer_of
from isobase_deploy.ports import free_ports
from tests.adapter.pair import Pair, SideStack, running_pair
from tests.sdk.upstream.gateway import running_gateway

ROOT = Path(__file__).parents[2]
ISOBASE = Path(sys.executable).with_name("isobase")
PARTS = {
    "supabase": "supabase",
    "functions": "supabase_functions",
    "postgrest": "postgrest",
    "storage": "storage3",
    "auth": "supabase_auth",
}
"""The folders of the checkout, and the packages in them."""
STAGES = ("plain", *(stage.value for stage in Stage if stage is not Stage.RAMP_DOWN))
PATTERNS = ("table:*", "rpc:*", "bucket:*", "auth", "functions")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
SUITE_TIMEOUT_S = 1200.0
REST = {
    "PGRST_DB_SCHEMAS": "public,personal",
    "PGRST_DB_EXTRA_SEARCH_PATH": "extensions",
    "PGRST_DB_ANON_ROLE": "postgres",
    "PGRST_DB_PLAN_ENABLED": "1",
    "PGRST_DB_TX_END": "commit-allow-override",
    "PGRST_SERVER_HOST": "127.0.0.1",
}
"""As postgrest-py's docker-compose.yaml has it."""
REST_ADDRESS = "http://127.0.0.1:3000"
STORAGE_ADDRESS = "http://localhost:55321/storage/v1"
EMPTYING = {"ISOBASE_STORAGE__EMPTY_BUCKET_ROLES": '["service_role", "authenticated", "anon"]'}
"""storage3's suite empties its buckets as anon, which servers older than August 2026 let it do."""


@dataclass(slots=True, frozen=True)
class Expected:
    """What a migration client does otherwise, and why. ``stages``: empty for all."""

    part: str
    test: str
    reason: str
    stages: tuple[str, ...] = ()

    def covers(self, part: str, stage: str, test: str) -> bool:
        """Whether it is about that test (a pattern of fnmatch)."""
        return part == self.part and stage in (self.stages or STAGES) and fnmatchcase(test, self.test)


EXPECTED = (
    Expected(
        "functions",
        "*::test_init_with_httpx_client",
        "an app's own http client stays the app's: the parts have copies of it, with its settings, on another transport",
    ),
    Expected(
        "storage",
        "*::test_client_create_signed_upload_url*",
        "the URL leads to the side that is written first",
        ("live", "ramp_down", "complete"),
    ),
)


@dataclass(slots=True)
class Suite:
    """One suite, ready to run. ``places``: see ``plugin.py``."""

    part: str
    folder: Path
    python: Path
    places: dict[str, dict[str, str]] = field(default_factory=dict)

    def run(self, stage: str, given: Mapping[str, Any], log: Path, only: str) -> dict[str, str]:
        """Run it in a stage; the outcome by test. only: pytest's ``-k``."""
        report = self.folder / f"{stage}.xml"
        # Nothing of this machine's settings: what a suite reads of the environment stands here.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SUPABASE_", "ISO"))}
        environment |= {
            "PYTHONPATH": str(ROOT),
            "ADAPTER_SUITE": json.dumps(
                {"stage": stage, "part": self.part, "package": PARTS[self.part], "places": self.places, **given}
            ),
        }
        if self.part == "supabase":
            environment |= {"SUPABASE_TEST_URL": "http://127.0.0.1:10", "SUPABASE_TEST_KEY": "e30.e30.e30"}
        if self.part == "storage":
            environment |= {"SUPABASE_TEST_URL": f"{STORAGE_ADDRESS}/", "SUPABASE_TEST_KEY": given["key"]}
        command = [
            str(self.python),
            "-m",
            "pytest",
            "-q",
            "-p",
            "scripts.adapter_suite.plugin",
            "-p",
            "no:cacheprovider",
        ]
        command += [
            "-c",
            "/dev/null",
            "-o",
            "asyncio_mode=auto",
            "--rootdir",
            ".",
            "--import-mode=prepend",
            "--continue-on-collection-errors",
        ]
        command += [f"--junit-xml={report}", "--durations=8", "-k", only, "tests"]
        with log.open("wb") as output, suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=output,
                check=False,
                timeout=SUITE_TIMEOUT_S,
            )
        return outcomes(report) if report.exists() else {}


def outcomes(report: Path) -> dict[str, str]:
    """Read the outcome of each test out of a JUnit report."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314  (pytest's own report)
        kinds = {child.tag for child in case}
        outcome = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "passed")
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def prepared(checkout: Path, part: str, scratch: Path) -> Suite:
    """Copy a suite's tests."""
    source = checkout / "src" / part
    folder = scratch / part
    folder.mkdir()
    shutil.copytree(source / "tests", folder / "tests")
    if (source / "conftest.py").exists():
        shutil.copy(source / "conftest.py", folder)
    return Suite(part, folder, environment_of(checkout) / "bin" / "python")


def environment_of(checkout: Path) -> Path:
    """Give the venv of the suites, made where it is missing."""
    venv = checkout / ".venv-adapter"
    if not venv.exists():
        wanted: set[str] = set()
        for part in PARTS:
            groups = tomllib.loads((checkout / "src" / part / "pyproject.toml").read_text())["dependency-groups"]
            wanted |= {one for one in groups.get("tests", groups.get("test", [])) if isinstance(one, str)}
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        install = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # The client as it is tested here; what the suites need beside as they say it.
        for more in (["-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[adapter]"], sorted(wanted)):
            if subprocess.run([*install, *more], check=False).returncode:
                shutil.rmtree(venv)
                sys.exit("what the suites need cannot be installed")
    return venv


@contextmanager
def served(command: str, environment: Mapping[str, str], folder: Path, port: int) -> Iterator[str]:
    """Run ``isobase serve COMMAND``; gives its address."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("GOTRUE_", "PGRST_", "SUPA"))}
    with (folder / f"{command}-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(ISOBASE), "serve", command],
            env={**outside, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, process)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline_s = monotonic() + START_TIMEOUT_S
    while monotonic() < deadline_s and process.poll() is None:
        for path in ("/health", "/countries?limit=1"):
            with suppress(httpx.TransportError):
                if httpx.get(f"{address}{path}", timeout=5).is_success:
                    return
        sleep(0.1)
    sys.exit(f"the server at {address} does not answer")


def side_url(
    side: SideStack, command: str, environment: Mapping[str, str], scratch: Path, open_parts: ExitStack
) -> str:
    """Start a server on a side's database; gives the URL of a project in which it is the only service."""
    (port,) = free_ports(1)
    if command == "auth":
        more = {"DATABASE_URL": side.admin_dsn, "GOTRUE_API_HOST": "127.0.0.1", "PORT": str(port)}
        prefix = "/auth/v1"
    else:
        more = {"PGRST_DB_URI": side.admin_dsn, "PGRST_SERVER_PORT": str(port)}
        prefix = "/rest/v1"
    address = open_parts.enter_context(served(command, {**environment, **more}, scratch, port))
    return open_parts.enter_context(running_gateway({prefix: address}))


def put_beside(suite: Suite, checkout: Path, pair: Pair, scratch: Path, open_parts: ExitStack) -> None:
    """Start what a suite asks, on both sides, and say where it is."""
    sides = {"supabase": pair.supabase, "isobase": pair.isobase}
    source = checkout / "src" / suite.part
    if suite.part == "storage":
        for side in sides.values():
            for file in sorted((source / "infra" / "supabase" / "migrations").glob("*.sql")):
                execute(side.admin_dsn, file.read_text())
        suite.places[STORAGE_ADDRESS] = {name: side.url for name, side in sides.items()} | {"path": "/storage/v1"}
    elif suite.part == "postgrest":
        for side in sides.values():
            execute(side.db_url, (source / "infra" / "init.sql").read_text())
        urls = {name: side_url(side, "database", REST, scratch, open_parts) for name, side in sides.items()}
        suite.places[REST_ADDRESS] = urls | {"path": "/rest/v1"}
    elif suite.part == "auth":
        for environment in read_layout((source / "infra" / "docker-compose.yml").read_text()).values():
            # No message is looked at: they go to the side's own mailbox.
            mail = {"GOTRUE_SMTP_HOST": "127.0.0.1", "GOTRUE_SMTP_PORT": str(open_parts.enter_context(mail_port()))}
            urls = {
                name: side_url(side, "auth", {**environment, **mail}, scratch, open_parts)
                for name, side in sides.items()
            }
            suite.places[f"http://localhost:{environment['PORT']}"] = urls | {"path": "/auth/v1"}


@contextmanager
def mail_port() -> Iterator[int]:
    """Serve SMTP, throwing messages away."""
    from scripts.auth_servers import _mail_server

    with _mail_server() as port:
        yield port


def execute(dsn: str, statements: str) -> None:
    """Run statements."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statements)


def put(pair: Pair, stage: Stage) -> None:
    """Put everything into a stage, without the users of the runs before: the suite's made-up addresses would meet."""
    side = pair.isobase
    side.query("truncate isobase.outbox, isobase.flags, isobase.writers, isobase.migration_auth")
    for one in (pair.supabase, side):
        one.query("delete from auth.users")
    stages = list(Stage)
    before = stages[max(stages.index(stage) - 1, 0)]
    for pattern in PATTERNS:
        side.query("insert into isobase.writers (pattern, side) values (%s, %s)", pattern, writer_of(stage))
        side.query("insert into isobase.flags (pattern, stage, before) values (%s, %s, %s)", pattern, stage, before)


def asked(pair: Pair, stage: str, scratch: Path, part: str) -> dict[str, Any]:
    """What the plugin is given in a stage."""
    spool = scratch / f"spool-{part}-{stage}"
    has_servers = part not in ("supabase", "functions")
    given: dict[str, Any] = {"key": pair.supabase.anon_key, "spool_dir": str(spool)}
    given["settings"] = {"isobase_key": pair.isobase.anon_key}
    if has_servers:
        given["settings"] |= {
            "supabase_service_role_key": pair.supabase.service_role_key,
            "isobase_service_role_key": pair.isobase.service_role_key,
            "supabase_db_url": pair.supabase.db_url,
            "isobase_db_url": pair.isobase.db_url,
        }
    else:
        flags = scratch / f"flags-{part}-{stage}.toml"
        known = Stage(stage) if stage != "plain" else Stage.OFF
        stages = list(Stage)
        before = stages[max(stages.index(known) - 1, 0)]
        flags.write_text(f'[flags]\n"*" = {{ stage = "{known}", before = "{before}" }}\n')
        given["flags_file"] = str(flags)
    return given


def told(part: str, stage: str, found: Mapping[str, str], plain: Mapping[str, str]) -> list[str]:
    """Print a line about a run; returns the tests that pass with the official client alone."""
    passed = sum(outcome == "passed" for outcome in found.values())
    skipped = sum(outcome == "skipped" for outcome in found.values())
    otherwise = sorted(name for name, outcome in plain.items() if outcome == "passed" != found.get(name))
    worse = [name for name in otherwise if not any(one.covers(part, stage, name) for one in EXPECTED)]
    better = sorted(name for name, outcome in found.items() if outcome == "passed" and plain.get(name) != "passed")
    print(
        f"{part:10} {stage:12} {passed} of {len(found) - skipped} passed;"
        f" otherwise than the official client: {len(otherwise) - len(worse)} as expected, {len(worse)} not",
        flush=True,
    )
    for name in worse:
        print(f"    {found.get(name, 'missing')}: {name}", flush=True)
    for name in better if stage != "plain" else ():
        print(f"    passes here alone: {name}", flush=True)
    return worse


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--stages", default=",".join(STAGES[1:]))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--only", default="", help="pytest's -k: the tests whose names fit")
    parser.add_argument("--log-dir", type=Path)
    chosen = parser.parse_args()
    checkout = chosen.checkout.resolve()
    worse: list[str] = []
    with ExitStack() as open_parts:
        scratch = Path(open_parts.enter_context(tempfile.TemporaryDirectory(prefix="isobase-suite-")))
        scratch.chmod(0o711)
        logs = chosen.log_dir or scratch
        logs.mkdir(parents=True, exist_ok=True)
        pair = open_parts.enter_context(running_pair(environment=EMPTYING))
        for part in chosen.parts.split(","):
            suite = prepared(checkout, part, scratch)
            with ExitStack() as beside:
                put_beside(suite, checkout, pair, scratch, beside)
                plain: dict[str, str] = {}
                for stage in chain(["plain"], chosen.stages.split(",")):
                    put(pair, Stage(stage) if stage != "plain" else Stage.OFF)
                    found = suite.run(
                        stage, asked(pair, stage, scratch, part), logs / f"{part}-{stage}.log", chosen.only
                    )
                    plain = plain or found
                    worse += told(part, stage, found, plain)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
