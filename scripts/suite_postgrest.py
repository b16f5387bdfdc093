"""Run PostgREST's own spec suite against ``isobase serve database``, all its variants, with figures per area.

    scripts/suite_postgrest.py MIRROR [--tag v14.17] [--out DIR] [--variant NAME ...]

MIRROR is a bare clone of PostgREST's repository. The runner that turns the suite into requests (extract.py, oracle.py,
run.py) is taken from the folder that --runner or SPEC_RUNNER names. PostgreSQL is the newest one installed (PG_BIN
overrides), with its contrib modules and, for the cases of GeoJSON, PostGIS; it runs on scratch data that is removed at the
end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DEFAULT_RUNNER = ROOT.parent / "shared" / "conformance" / "postgrest_spec"
RUNNER_PARTS = ("extract.py", "oracle.py", "run.py")
NEEDED_EXTENSIONS = ("pgcrypto", "ltree", "isn", "file_fdw")
BEYOND_US = {
    "plan-internal": "costs or columns of the SQL that PostgREST itself writes",
    "product": "its version or the address of its pages",
    "safeupdate": "needs the extension pg-safeupdate",
    "json-spaces": "counts spaces between members of embedded objects, which Isobase leaves out",
    "no-slash": "its path does not begin with a slash, which is no HTTP (RFC 9112, 3.2.1) and is answered 400",
}
JSON_SPACES = "requesting parents and children"
"""The case that counts the spaces which jsonb puts between members of embedded objects; Isobase writes json, with none."""
DATABASE_ACCOUNT = "postgres"
"""Whom PostgreSQL runs as where this runs as root, which it refuses to be."""


def main() -> int:
    """Run the suite; 0 when every case passes but those that cannot."""
    parsed = _arguments()
    missing = [part for part in RUNNER_PARTS if not (parsed.runner / part).is_file()]
    if missing:
        return _refused(f"the suite's runner is not at {parsed.runner} ({', '.join(missing)}); set SPEC_RUNNER")
    binaries = _postgres_binaries()
    if binaries is None:
        return _refused("no PostgreSQL server is installed (initdb and pg_ctl); set PG_BIN to its folder")
    extensions = _extensions(binaries)
    if lacking := [name for name in NEEDED_EXTENSIONS if name not in extensions]:
        return _refused(f"PostgreSQL in {binaries} lacks {', '.join(lacking)}: install its contrib modules")
    beyond = dict(BEYOND_US)
    if "postgis" not in extensions:
        beyond["postgis"] = "PostGIS is not installed"
    with tempfile.TemporaryDirectory(prefix="isobase-spec-") as name:
        scratch = Path(name)
        scratch.chmod(0o711)
        out: Path = parsed.out or scratch / "out"
        cases = scratch / "cases"
        runner = [sys.executable, str(parsed.runner / "extract.py")]
        subprocess.run([*runner, "--mirror", parsed.mirror, "--tag", parsed.tag, "--out", cases], check=True)
        with _server(binaries, scratch) as port:
            _run(parsed, cases, out, port, scratch)
        return _report(cases, out, beyond, parsed.variant)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run PostgREST's own spec suite against isobase serve database.")
    parser.add_argument("mirror", help="a bare clone of PostgREST's repository")
    parser.add_argument("--tag", default="v14.17", help="the release whose suite is run (default: v14.17)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep reports, failures and the servers' logs here")
    parser.add_argument("--variant", action="append", metavar="NAME", help="only this variant of the settings")
    runner = Path(os.environ.get("SPEC_RUNNER", DEFAULT_RUNNER))
    parser.add_argument("--runner", type=Path, default=runner, metavar="DIR", help="where extract.py and oracle.py are")
    return parser.parse_args()


def _refused(reason: str) -> int:
    print(f"the suite cannot be run: {reason}", file=sys.stderr)
    return 2


def _postgres_binaries() -> Path | None:
    """The folder with initdb and pg_ctl: PG_BIN, else the newest of Debian's places, else where PATH finds pg_ctl."""
    places = [Path(os.environ["PG_BIN"])] if "PG_BIN" in os.environ else []
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name.partition(".")[0])
    )
    places += reversed(debian)
    if found := shutil.which("pg_ctl"):
        places.append(Path(found).resolve().parent)
    return next((place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()), None)


def _extensions(binaries: Path) -> frozenset[str]:
    config = binaries / "pg_config"
    command = [str(config) if config.exists() else "pg_config", "--sharedir"]
    try:
        share = Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        share = Path("/usr/share/postgresql") / binaries.parent.name
    return frozenset(path.stem for path in (share / "extension").glob("*.control"))


@contextlib.contextmanager
def _server(binaries: Path, scratch: Path) -> Iterator[int]:
    """A PostgreSQL on scratch data until the block ends; yields its port on the loopback address."""
    port = _free_port()
    data = scratch / "postgres"
    data.mkdir()
    if os.geteuid() == 0:
        account = pwd.getpwnam(DATABASE_ACCOUNT)
        os.chown(data, account.pw_uid, account.pw_gid)
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
    initdb = ["--no-locale", "--encoding=UTF8", "-U", "postgres", "--auth=trust"]
    _as_account([binaries / "initdb", "-D", data / "cluster", *initdb])
    control: list[str | Path] = [binaries / "pg_ctl", "-D", data / "cluster", "-w"]
    _as_account([*control, "-o", options, "-l", data / "log", "start"])
    try:
        yield port
    finally:
        _as_account([*control, "-m", "immediate", "stop"])


def _as_account(command: list[str | Path]) -> None:
    account = DATABASE_ACCOUNT if os.geteuid() == 0 else None
    environment = os.environ | {"TZ": "utc"}
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdout=subprocess.DEVNULL,
        user=account,
        group=account,
        extra_groups=[] if account else None,
        env=environment,
        cwd="/",
    )


def _free_port(count: int = 1) -> int:
    """The first of ``count`` free ports in a row."""
    while True:
        with contextlib.ExitStack() as held:
            first = held.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                for further in range(1, count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port + further))
            except OSError:
                continue
            return port


def _run(parsed: argparse.Namespace, cases: Path, out: Path, port: int, scratch: Path) -> None:
    program = scratch / "program"
    program.write_text(f'#!/bin/sh\nexec "{ROOT}/.venv/bin/isobase" serve database "$@"\n')
    program.chmod(0o755)
    command = [
        sys.executable,
        parsed.runner / "oracle.py",
        "run",
        "--postgrest",
        program,
        "--cases",
        cases,
        "--out",
        out,
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--listen", str(_free_port(2))]
    command += ["--reset", "--mirror", parsed.mirror, "--tag", parsed.tag]
    for name in parsed.variant or ():
        command += ["--config", name]
    subprocess.run(command, check=True)


def _report(cases: Path, out: Path, beyond: dict[str, str], variants: list[str] | None) -> int:
    """Say what fails although it should pass, and why the rest is left out."""
    known = json.loads((cases / "cases.json").read_text())["cases"]
    known = [case for case in known if variants is None or case["config"] in variants]
    passed = Counter(json.loads((out / "pass.json").read_text())["pass"])
    left_out: Counter[str] = Counter()
    failing: list[str] = []
    for case in known:
        if passed[case["id"]] > 0:
            passed[case["id"]] -= 1
        elif tags := [tag for tag in (*case["tags"], *_own_tags(case)) if tag in beyond]:
            left_out[tags[0]] += 1
        else:
            failing.append(f"{case['id']} [{case['config']}]")
    counted = len(known) - sum(left_out.values())
    for tag, count in sorted(left_out.items()):
        print(f"left out: {count} cases tagged {tag} ({beyond[tag]})")
    for one in failing:
        print(f"failed: {one}")
    share = 100 * (counted - len(failing)) / counted if counted else 0.0
    print(f"{counted - len(failing)} of {counted} cases pass ({share:.1f} %)")
    return 1 if failing else 0


def _own_tags(case: dict[str, Any]) -> list[str]:
    if case["name"] == JSON_SPACES:
        return ["json-spaces"]
    paths = [step["request"]["path"] for step in case["steps"] if "request" in step]
    return ["no-slash"] if any(isinstance(path, str) and not path.startswith("/") for path in paths) else []


if __name__ == "__main__":
    sys.exit(main())
