"""``isobase start`` and ``isobase serve``: the server in the foreground, or left running with --detach."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isobase_deploy.addresses import database_url
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.flags import project_of
from isobase_deploy.cli.output import Output
from isobase_deploy.cli.status import print_pretty
from isobase_deploy.database import ProjectDatabase, hide_new_stand_ins, prepare, watch
from isobase_deploy.datadir import DataDir, RunState
from isobase_deploy.ports import listen
from isobase_deploy.project import Project
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError, DatabaseError, IsobaseError
from isobase_platform.observe import configure_logging
from isobase_platform.pool import DATABASE_FAILURES

if TYPE_CHECKING:
    from isobase_deploy.mailbox import Listeners

__all__ = ["new_event_loop", "run", "run_service"]

DETACHED_START_TIMEOUT_S = 120.0
POLL_S = 0.02
UNREACHABLE_DATABASE = frozenset({"3D000", "55000"})
"""SQLSTATE of a database that is not there or takes no connections: what a reset leaves that was killed half-way."""

_log = logging.getLogger("isobase.start")


def run(parsed: argparse.Namespace) -> int:
    """All services behind one port, until SIGTERM or Ctrl-C; with --detach return when they are up."""
    project = project_of(parsed)
    if parsed.detach:
        return _detach(project, sys.argv[1:])
    from isobase_deploy.gateway import enabled_services

    return _serve(project, enabled_services(project.settings), alone=False)


def run_service(parsed: argparse.Namespace) -> int:
    """One service alone, with the platform and nothing else; realtime in several processes where ``--workers`` says so."""
    project, workers = project_of(parsed), parsed.workers or 1
    if workers > 1 and project.settings.is_embedded:
        raise ConfigurationError(
            "--workers needs --database-url: the embedded PostgreSQL lives and dies with the process that started it"
        )
    return _serve(project, (parsed.service,), alone=True, workers=workers)


def _serve(project: Project, names: tuple[str, ...], *, alone: bool, workers: int = 1) -> int:
    """The order of a start: lock, port, database, then services. Each step can refuse, and leaves nothing behind."""
    project.settings.check_production()
    configure_logging(project.settings.log_level, project.settings.log_format)
    data_dir = DataDir(_lock_path(project.settings, names, alone=alone))
    with Output() as output:
        for warning in project.warnings:
            output.warn(warning)
        data_dir.lock()
        try:
            with (
                contextlib.closing(listen(project.settings.host, project.settings.port)) as api,
                _mail_listeners(project.settings, names, alone=alone) as mail,
            ):
                sockets = _Sockets(api, mail)
                return _serve_locked(project, names, data_dir, sockets, output, alone=alone, workers=workers)
        finally:
            data_dir.unlock()


@dataclass(slots=True, frozen=True)
class _Sockets:
    """What the server listens on; ``mail`` None: there is no mailbox in this process."""

    api: socket.socket
    mail: Listeners | None


def _mail_listeners(
    settings: Settings, names: tuple[str, ...], *, alone: bool
) -> contextlib.AbstractContextManager[Listeners | None]:
    """The sockets of the local mailbox, where this process is to have one."""
    if alone and "auth" not in names:
        return contextlib.nullcontext()
    from isobase_deploy.mailbox import open_listeners

    return open_listeners(settings, is_shared=alone)


def _lock_path(settings: Settings, names: tuple[str, ...], *, alone: bool) -> Path:
    """The data directory, which belongs to one server; but services that run alone on one database by URL are several."""
    if alone and not settings.is_embedded:
        return settings.data_dir / f"serve-{names[0]}"
    return settings.data_dir


def _serve_locked(
    project: Project,
    names: tuple[str, ...],
    data_dir: DataDir,
    sockets: _Sockets,
    output: Output,
    *,
    alone: bool,
    workers: int,
) -> int:
    database = ProjectDatabase(project)
    output.step("Starting PostgreSQL" if project.settings.is_embedded else "Connecting to PostgreSQL")
    if project.settings.is_embedded:
        _import_ahead(names)
    # On this thread and before the event loop: the kernel ties the server's life to the thread that started it.
    database.start()
    try:
        ports = {"port": sockets.api.getsockname()[1], **({"mail_port": sockets.mail.port} if sockets.mail else {})}
        settings = database.settings.model_copy(update=ports)
        database.settings = settings
        serving = _Serving(project, settings, names, data_dir, sockets, output, alone=alone)
        if workers > 1:
            return _serve_in_workers(serving, database, workers)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return int(runner.run(serving.run(database)))
    finally:
        if project.settings.is_embedded:
            output.step("Stopping PostgreSQL")
        database.stop()


def _import_ahead(names: tuple[str, ...]) -> None:
    """Read the services' modules in a thread of its own while PostgreSQL starts, which is mostly waiting."""

    def read() -> None:
        # What cannot be imported says so where it is needed.
        with contextlib.suppress(ImportError):
            for module in (
                "isobase_deploy.gateway",
                "isobase_deploy.http_server",
                *(f"isobase_services.{name}.service" for name in names),
            ):
                import_module(module)

    threading.Thread(target=read, name="import ahead", daemon=True).start()


def _serve_in_workers(serving: _Serving, database: ProjectDatabase, count: int) -> int:
    """The database is prepared once; then ``count`` copies of this process serve, each with an event loop of its own."""
    from isobase_deploy.workers import supervise

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serving.prepare())
    serving.output.finish()

    def run_worker(number: int) -> int:
        serving.worker = number
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return int(runner.run(serving.run(database)))

    settings, listener = serving.settings, serving.sockets.api
    drain_timeout_s = settings.drain_timeout_s
    return supervise(count, run_worker, drain_timeout_s=drain_timeout_s, close_listeners=listener.close)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where there is one for this system."""
    try:
        import uvloop
    except ImportError:  # not made for every system
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class _Serving:
    """One run of the server on an event loop."""

    def __init__(
        self,
        project: Project,
        settings: Settings,
        names: tuple[str, ...],
        data_dir: DataDir,
        sockets: _Sockets,
        output: Output,
        *,
        alone: bool,
    ) -> None:
        self.settings = settings
        self.sockets = sockets
        self.output = output
        self.worker: int | None = None
        """The number of the process among several, which was copied from one that had prepared the database."""
        self._project = project
        self._names = names
        self._data_dir = data_dir
        self._alone = alone

    async def run(self, database: ProjectDatabase) -> ExitCode:
        """Prepare the database, start the services, serve until a signal, end in order."""
        from isobase_deploy.gateway import open_gateway
        from isobase_deploy.http_server import HttpServer, ending_on_signals

        preparing = asyncio.current_task()
        assert preparing is not None
        with ending_on_signals(lambda: _cancel(preparing)):
            try:
                if self.worker is None:
                    await self.prepare()
                    self.output.step("Starting services")
                opened = contextlib.AsyncExitStack()
                await self._open_mailbox(opened)
                gateway = await opened.enter_async_context(open_gateway(self.settings, self._names, alone=self._alone))
            except asyncio.CancelledError:
                self.output.say("interrupted before the server was up; nothing half done was left")
                return ExitCode.INTERRUPTED
        async with opened:
            server = HttpServer(gateway, self.sockets.api, self.settings)
            watching = asyncio.create_task(watch(database), name="watch PostgreSQL")
            # Without a database that starts again there is nothing left to serve.
            watching.add_done_callback(lambda task: None if task.cancelled() else server.end())
            hiding = asyncio.create_task(self._hide_stand_ins(), name="password stand-ins")
            try:
                with ending_on_signals(server.end):
                    await server.serve(self._ready)
            finally:
                hiding.cancel()
                watching.cancel()
                ended = await asyncio.gather(watching, hiding, return_exceptions=True)
        if isinstance(ended[0], IsobaseError):
            raise ended[0]
        return ExitCode.OK

    async def _open_mailbox(self, opened: contextlib.AsyncExitStack) -> None:
        """Before the services and closed after them: the mail that they send while they end has somewhere to go."""
        if self.sockets.mail is not None:
            from isobase_deploy.mailbox import Mailbox

            await opened.enter_async_context(Mailbox(self.settings.mailbox).serving(self.sockets.mail))

    async def prepare(self) -> None:
        """Bring the database to what the services need."""
        try:
            await prepare(self._project, self.settings, self.output)
        except DatabaseError as error:
            if error.sqlstate not in UNREACHABLE_DATABASE or not self.settings.is_embedded:
                raise
            from isobase_deploy.reset import recover_reset

            await recover_reset(self.settings)
            await prepare(self._project, self.settings, self.output)

    async def _hide_stand_ins(self) -> None:
        if not self.settings.is_embedded:
            return
        try:
            await hide_new_stand_ins(self.settings)
        except DATABASE_FAILURES:
            # Sign-in knows the stand-ins too, and the next start tries again.
            _log.exception("password stand-ins of seed files could not be replaced")

    def _ready(self) -> None:
        if self.worker:
            return  # the first of several speaks for all
        self._data_dir.write_state(
            RunState(
                pid=os.getpid() if self.worker is None else os.getppid(),
                api_url=self.settings.base_url,
                db_url=database_url(self.settings),
                port=self.settings.port,
                db_port=self.settings.database.port if self.settings.is_embedded else None,
                started_at=datetime.now(UTC).isoformat(timespec="seconds"),
                is_production=self.settings.is_production,
                mail_port=self.sockets.mail.port if self.sockets.mail is not None else None,
            )
        )
        self.output.finish()
        print_pretty(self.settings, self._names)
        how_to_stop = "Press Ctrl-C to stop." if sys.stderr.isatty() else "Stop it with: isobase stop"
        self.output.say(f"Ready in {self.output.elapsed_s:.1f} s. {how_to_stop}")


def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()


def _detach(project: Project, arguments: list[str]) -> int:
    """Start the same command in a session of its own and wait until it is up or has failed."""
    data_dir = DataDir(project.settings.data_dir)
    data_dir.make()
    command = [sys.executable, "-m", "isobase_deploy.cli", *(one for one in arguments if one != "--detach")]
    descriptor = os.open(data_dir.server_log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        offset = os.fstat(log.fileno()).st_size
        process = subprocess.Popen(  # noqa: S603  our own program, no shell
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline_s = time.monotonic() + DETACHED_START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        state = data_dir.running()
        said = data_dir.server_log_path.read_bytes()[offset:].decode(errors="replace")
        if state is not None and state.pid == process.pid:
            # It lives on without us; to Popen a process that nobody waited for is a mistake to warn of.
            process.returncode = 0
            print(said, end="")  # noqa: T201  what it would have said here
            return ExitCode.OK
        code = process.poll()
        if code is not None:
            print(said, end="", file=sys.stderr)  # noqa: T201
            return code if code > 0 else ExitCode.UNEXPECTED
        time.sleep(POLL_S)
    print(  # noqa: T201
        f"not ready after {DETACHED_START_TIMEOUT_S:.0f} s; it goes on trying, see {data_dir.server_log_path}",
        file=sys.stderr,
    )
    return ExitCode.UNEXPECTED
