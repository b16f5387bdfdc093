"""One process that serves the data API as the PostgREST program does.

The API's port is open from the start; until the database was reached requests are answered 503, and it is tried again with
growing pauses. SIGUSR1 reloads the schema cache, SIGUSR2 the configuration, SIGTERM and SIGINT end in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

from isobase_deploy.cli.exit_codes import ExitCode, exit_code_of
from isobase_deploy.http_server import HttpServer, ending_on_signals
from isobase_deploy.postgrest.admin import AdminServer
from isobase_deploy.postgrest.figures import Figures, SharedFigures
from isobase_deploy.postgrest.program import Listeners, Program, url_of
from isobase_platform.errors import IsobaseError
from isobase_platform.runtime import Platform
from isobase_services.database import RestService

__all__ = ["serve"]

_log = logging.getLogger("isobase.start")


async def serve(program: Program, listeners: Listeners, figures: SharedFigures, worker: int) -> ExitCode:
    """Serve until a signal, or until it is pointless to go on.

    ``worker`` is this process's number among those that share ``figures``; the first one serves the admin's socket.
    """
    async with Platform.open(program.settings) as platform, contextlib.AsyncExitStack() as opened:
        service = RestService(platform, program.read_rest_settings, _public_url(program))
        server = HttpServer(service, listeners.api, program.settings)
        keeper = service.keeper
        keeper.ended.add_done_callback(lambda _: server.end())
        own_figures = Figures(platform, keeper, figures, worker)
        platform.metrics.registry.register(own_figures)
        if worker == 0 and listeners.admin is not None:
            admin = AdminServer(platform, keeper, listeners.api)
            await opened.enter_async_context(_served(HttpServer(admin, listeners.admin, program.settings)))
            _log.info("admin server listening", extra={"address": url_of(listeners.admin)})
        service.start()
        writing = asyncio.create_task(own_figures.keep_written(), name="figures")
        opened.callback(writing.cancel)
        reloads = {signal.SIGUSR1: keeper.want_reload, signal.SIGUSR2: keeper.want_configuration}
        with ending_on_signals(server.end), _calling_on_signals(reloads):
            await server.serve(lambda: _log.info("API listening", extra={"address": url_of(listeners.api)}))
        if keeper.ended.done():
            return _gave_up(keeper.ended.result())
        return ExitCode.OK


def _gave_up(error: IsobaseError) -> ExitCode:
    _log.error("the database cannot be used; ending", extra={"reason": error.details or error.message})
    return exit_code_of(error)


def _public_url(program: Program) -> str:
    """Where the description of the API says that it is."""
    host, port = str(program.options.values["server-host"]), program.settings.port
    shown = "0.0.0.0" if host in {"*", "*4", "!4", "*6", "!6"} else host  # noqa: S104  shown, not bound
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


@contextlib.asynccontextmanager
async def _served(server: HttpServer) -> AsyncIterator[None]:
    """``server`` beside what the block does."""
    is_ready = asyncio.Event()
    serving = asyncio.create_task(server.serve(is_ready.set), name="admin server")
    try:
        await is_ready.wait()
        yield
    finally:
        server.end()
        await serving


@contextlib.contextmanager
def _calling_on_signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
