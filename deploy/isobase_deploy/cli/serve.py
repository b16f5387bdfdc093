"""``isobase serve``: one service alone; also in the place of the PostgREST and the GoTrue program.

With a configuration file, one of PostgREST's flags or any ``PGRST_*`` variable, ``serve database`` takes PostgREST's settings
and serves at the root, on a database that need not know Isobase; with any ``GOTRUE_*`` variable ``serve auth`` takes
GoTrue's.
Otherwise it serves the project's database.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os

from isobase_deploy.cli import start
from isobase_deploy.ports import listen
from isobase_platform.config import Settings, load_settings
from isobase_platform.config_gotrue import is_gotrue_environment, read_gotrue_environment
from isobase_platform.config_postgrest import Sources
from isobase_platform.errors import ConfigurationError
from isobase_platform.observe import configure_logging

__all__ = ["run"]


def run(parsed: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    if _is_gotrue(parsed):
        return _run_as_gotrue(parsed)
    if not _is_postgrest(parsed):
        return start.run_service(parsed)
    if parsed.service != "database":
        raise ConfigurationError(
            "a configuration file and PostgREST's flags are for `isobase serve database` only; realtime takes --workers too"
        )
    return _run_as_postgrest(parsed)


def _is_gotrue(parsed: argparse.Namespace) -> bool:
    if parsed.service != "auth" or not is_gotrue_environment(os.environ):
        return False
    return not (parsed.dump_config or parsed.dump_schema or parsed.ready or parsed.example or parsed.file is not None)


def _is_postgrest(parsed: argparse.Namespace) -> bool:
    prints = parsed.dump_config or parsed.dump_schema or parsed.ready or parsed.example
    # Realtime has workers of its own right; elsewhere the flag stands for the program whose flag it is.
    has_workers = parsed.workers is not None and parsed.service != "realtime"
    is_asked = parsed.file is not None or has_workers or prints
    return is_asked or (parsed.service == "database" and any(name.startswith("PGRST_") for name in os.environ))


def _refuse_project_flags(parsed: argparse.Namespace, program: str) -> None:
    meaningless = {
        "--workdir": parsed.workdir,
        "--data-dir": parsed.data_dir,
        "--db-port": parsed.db_port,
        "--production": parsed.production or None,
    }
    if given := [name for name, value in meaningless.items() if value is not None]:
        raise ConfigurationError(f"{', '.join(given)}: there is no project where {program}'s settings are served")


def _flags(parsed: argparse.Namespace) -> dict[str, str]:
    """The flags that `serve` has for every service, as PostgREST's variables, over which they win."""
    _refuse_project_flags(parsed, "PostgREST")
    named = {
        "PGRST_SERVER_HOST": parsed.host,
        "PGRST_SERVER_PORT": parsed.port,
        "PGRST_DB_URI": parsed.database_url,
    }
    return {name: str(value) for name, value in named.items() if value is not None}


def _configure_logging(settings: Settings) -> None:
    """``log_level`` chooses the requests that are logged; starts, reloads and lost connections are told at every level.

    Source: PostgREST v14 ``Logger.hs``: its default is error, and who starts it still reads where it listens.
    """
    configure_logging("debug" if settings.log_level == "debug" else "info", settings.log_format)
    logging.getLogger("isobase.access").setLevel(settings.log_level.upper())


def _run_as_postgrest(parsed: argparse.Namespace) -> int:
    from isobase_deploy.postgrest import commands, create_program

    if parsed.example:
        return int(commands.print_example())
    sources = Sources({**os.environ, **_flags(parsed)}, parsed.file)
    if parsed.ready:
        return int(commands.ask_ready(sources.read()))
    if parsed.dump_config:
        return int(asyncio.run(commands.dump_config(sources)))
    program = create_program(sources)
    if parsed.dump_schema:
        return int(asyncio.run(commands.dump_schema(program)))
    _configure_logging(program.settings)
    from isobase_deploy.postgrest.figures import SharedFigures
    from isobase_deploy.postgrest.program import open_listeners
    from isobase_deploy.postgrest.server import serve
    from isobase_deploy.workers import supervise

    count = parsed.workers or 1
    figures = SharedFigures(count)
    with open_listeners(program.settings) as listeners:

        def run_worker(number: int) -> int:
            with asyncio.Runner(loop_factory=start.new_event_loop) as runner:
                return int(runner.run(serve(program, listeners, figures, number)))

        if count == 1:
            return run_worker(0)
        drain_timeout_s = program.settings.drain_timeout_s
        return supervise(count, run_worker, drain_timeout_s=drain_timeout_s, close_listeners=listeners.close)


def _run_as_gotrue(parsed: argparse.Namespace) -> int:
    _refuse_project_flags(parsed, "GoTrue")
    named = {
        "GOTRUE_API_HOST": parsed.host,
        "PORT": parsed.port,
        "GOTRUE_DB_DATABASE_URL": parsed.database_url,
    }
    flags = {name: str(value) for name, value in named.items() if value is not None}
    configuration = read_gotrue_environment({**os.environ, **flags}, load_settings())
    settings = configuration.settings
    configure_logging(settings.log_level, settings.log_format)
    for warning in configuration.warnings:
        logging.getLogger("isobase.start").warning(warning)
    from isobase_deploy.gotrue import prepare, serve
    from isobase_deploy.workers import supervise

    count = parsed.workers or 1
    with contextlib.closing(listen(settings.host, settings.port)) as listener:
        # Once for all workers; each is a copy of this process, which must have no event loop of its own then.
        with asyncio.Runner(loop_factory=start.new_event_loop) as runner:
            if (code := runner.run(prepare(settings))) is not None:
                return int(code)

        def run_worker(_number: int) -> int:
            with asyncio.Runner(loop_factory=start.new_event_loop) as runner:
                return int(runner.run(serve(settings, listener)))

        if count == 1:
            return run_worker(0)
        drain_timeout_s = settings.drain_timeout_s
        return supervise(count, run_worker, drain_timeout_s=drain_timeout_s, close_listeners=listener.close)
