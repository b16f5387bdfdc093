"""Settings and sockets of one run, before there is an event loop."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isobase_deploy.ports import BACKLOG_CONNECTIONS, listen
from isobase_platform.config import RestSettings, Settings, load_settings
from isobase_platform.config_postgrest import Options, Sources, connection_url, to_rest_settings, to_settings
from isobase_platform.errors import ConfigurationError

__all__ = ["Listeners", "Program", "create_program", "open_listeners", "url_of"]

ANY_ADDRESS = "::"
ANY_IPV4_ADDRESS = "0.0.0.0"  # noqa: S104  where upstream listens by default


@dataclass(slots=True, frozen=True)
class Program:
    """What was configured. ``options`` are PostgREST's, ``settings`` the same as Isobase's."""

    sources: Sources
    options: Options
    settings: Settings

    def read_rest_settings(self) -> RestSettings:
        """The data API's settings read anew, without those in the database. Raises ``ConfigurationError``."""
        uri = str(self.options.values["db-uri"])
        return to_rest_settings(self.sources.read(database_uri=uri), self.settings.rest)


def create_program(sources: Sources) -> Program:
    """Read the configuration file, where one is given, and the environment. Raises ``ConfigurationError``."""
    options = sources.read()
    url = connection_url(str(options.values["db-uri"]), sources.environment)
    return Program(sources, options, to_settings(options, load_settings(), url))


@dataclass(slots=True, frozen=True)
class Listeners:
    """The sockets of the API and of the admin server, held so that nobody else can take their addresses."""

    api: socket.socket
    admin: socket.socket | None

    def close(self) -> None:
        """Close this process's copies; those of processes made from it stay open."""
        self.api.close()
        if self.admin is not None:
            self.admin.close()


@contextlib.contextmanager
def open_listeners(settings: Settings) -> Iterator[Listeners]:
    """Listen where the settings say until the block ends; a unix socket's file is removed then.

    Raises ``ConfigurationError``, with the code ``port_taken`` for a port that another program has.
    """
    with contextlib.ExitStack() as opened:
        if settings.unix_socket is not None:
            api = opened.enter_context(_unix_listener(settings.unix_socket, int(settings.unix_socket_mode, 8)))
        else:
            api = opened.enter_context(contextlib.closing(_listen(settings.host, settings.port, "server")))
        admin = None
        if settings.admin_port is not None:
            host = settings.admin_host or settings.host
            admin = opened.enter_context(contextlib.closing(_listen(host, settings.admin_port, "admin-server")))
        yield Listeners(api, admin)


def url_of(listener: socket.socket) -> str:
    """Where a socket listens, for people."""
    if listener.family == socket.AF_UNIX:
        return str(listener.getsockname())
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(host: str, port: int, setting: str) -> socket.socket:
    """``setting`` is how the names of the settings begin that choose the address, for the hint."""
    try:
        return listen(host, port)
    except ConfigurationError as error:
        cause = error.__cause__
        error.hint = f"stop what uses it, or choose another address with {setting}-host and {setting}-port"
        if host != ANY_ADDRESS or not isinstance(cause, OSError) or cause.errno not in _NO_IPV6:
            raise
        return listen(ANY_IPV4_ADDRESS, port)


_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


@contextlib.contextmanager
def _unix_listener(path: Path, mode: int) -> Iterator[socket.socket]:
    """A listening unix socket at ``path``, in the place of an old socket but of nothing else."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(BACKLOG_CONNECTIONS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"the API cannot listen on the unix socket {path}: {error.strerror}") from error
    owner = os.getpid()
    try:
        yield listener
    finally:
        listener.close()
        if os.getpid() == owner:  # a worker is a copy of the process that made it
            path.unlink(missing_ok=True)
