"""Run a command beside the auth servers that a compose file of an official auth suite describes.

    scripts/auth_servers.py COMPOSE_FILE COMMAND [ARGUMENT ...]

Each service of the file that has a PORT becomes one `isobase serve auth` with the file's own environment. In the place of the
file's database stands an embedded PostgreSQL on scratch data, in the place of its mail server one that takes every message
and keeps none; only the variables that name these two, and the address to listen on, are changed. The ports are the file's,
so nothing else may listen there. Everything is ended when the command ends, whose exit code is passed on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from isobase_deploy.embedded import EmbeddedPostgres
from isobase_deploy.ports import free_ports

ISOBASE = Path(sys.executable).with_name("isobase")
PASSWORD = "postgres"  # noqa: S105  of a database that lives as long as the command
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
_SERVICE = re.compile(r"  (\w+):")
_VARIABLE = re.compile(r"      (\w+): *(.*)")
_REFERENCE = re.compile(r"\$\{(\w+)\}")


def main() -> int:
    """Start what is needed, run the command, end it all."""
    parser = argparse.ArgumentParser(description="Run a command beside the auth servers of a compose file.")
    parser.add_argument("compose_file", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    parsed = parser.parse_args()
    layout = read_layout(parsed.compose_file.read_text())
    with tempfile.TemporaryDirectory(prefix="isobase-suite-") as name, contextlib.ExitStack() as running:
        scratch = Path(name)
        scratch.chmod(0o711)
        mail_port = running.enter_context(_mail_server())
        database_url = running.enter_context(_postgres(scratch))
        for environment in layout.values():
            running.enter_context(_auth_server(environment, database_url, mail_port, scratch))
        for environment in layout.values():
            _wait_for(environment["PORT"], scratch)
        code = subprocess.run(parsed.command, check=False).returncode
        if log_dir := os.environ.get("AUTH_SERVERS_LOG_DIR"):
            _keep_logs(scratch, Path(log_dir))
        return code


def read_layout(text: str) -> dict[str, dict[str, str]]:
    """Service name -> environment of each service that has a PORT; compose's own references are resolved or empty."""
    layout: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    in_environment = False
    for line in text.splitlines():
        if service := _SERVICE.match(line):
            current = layout.setdefault(service[1], {})
        elif line.startswith("    ") and not line.startswith("     "):
            in_environment = line.strip() == "environment:"
        elif in_environment and (variable := _VARIABLE.match(line)):
            value = variable[2].strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1]
            current[variable[1]] = _REFERENCE.sub(lambda found: os.environ.get(found[1], ""), value)
    return {name: environment for name, environment in layout.items() if "PORT" in environment}


@contextlib.contextmanager
def _postgres(scratch: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    server = EmbeddedPostgres(scratch, port=port, password=PASSWORD, is_durable=False)
    server.start()
    try:
        yield f"postgresql://supabase_admin:{PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        server.stop()


@contextlib.contextmanager
def _auth_server(
    environment: Mapping[str, str], database_url: str, mail_port: int, scratch: Path
) -> Iterator[subprocess.Popen[bytes]]:
    own = {
        "DATABASE_URL": database_url,
        "GOTRUE_API_HOST": "127.0.0.1",
        "GOTRUE_SMTP_HOST": "127.0.0.1",
        "GOTRUE_SMTP_PORT": str(mail_port),
    }
    # What the suites need beside is the machine's own; a developer's settings must not reach the servers.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("GOTRUE_", "SUPABASE_"))}
    with (scratch / f"auth-{environment['PORT']}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(ISOBASE), "serve", "auth"],
            env={**outside, **environment, **own},
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: str, scratch: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5),
        ):
            return
        if time.monotonic() > deadline_s:
            print((scratch / f"auth-{port}.log").read_text(), file=sys.stderr)
            sys.exit(f"the auth server on port {port} does not answer")
        time.sleep(0.05)


def _keep_logs(scratch: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for log in scratch.glob("auth-*.log"):
        (folder / log.name).write_bytes(log.read_bytes())


class _Mail(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as a sender needs; any login is right, and messages are thrown away."""

    def handle(self) -> None:
        """Serve one connection."""
        self._say("220 localhost ESMTP")
        while line := self.rfile.readline(4096):
            words = line.decode("latin-1").split()
            verb = words[0].upper() if words else ""
            if verb == "EHLO":
                self._say("250-localhost\r\n250 AUTH PLAIN LOGIN")
            elif verb == "AUTH":
                if words[1].upper() == "LOGIN":
                    for prompt in ("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6")[len(words) - 2 :]:
                        self._say(prompt)
                        self.rfile.readline(4096)
                elif len(words) == 2:
                    self._say("334 ")
                    self.rfile.readline(4096)
                self._say("235 2.7.0 accepted")
            elif verb == "DATA":
                self._say("354 go on")
                while self.rfile.readline(65_536) not in {b".\r\n", b""}:
                    pass
                self._say("250 2.0.0 taken")
            elif verb == "QUIT":
                self._say("221 2.0.0 bye")
                return
            else:
                self._say("250 2.0.0 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@contextlib.contextmanager
def _mail_server() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
