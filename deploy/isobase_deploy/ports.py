"""TCP ports of the loopback address: which are free, and taking one before anything else is started."""

from __future__ import annotations

import errno
import socket

from isobase_platform.errors import ConfigurationError

__all__ = ["free_ports", "listen"]

BACKLOG_CONNECTIONS = 2048


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nothing listens on now. Another process may take one before its use: retry then."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def listen(host: str, port: int, *, what: str = "the API", chosen_by: str = "--port or [api] port") -> socket.socket:
    """A listening socket on ``host``:``port`` (0: any free port), held from now on so that nobody else can take it.

    ``what`` listens there and ``chosen_by`` names its port: words for the errors.

    Raises ``ConfigurationError``, with the code ``port_taken`` when it is the port that cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG_CONNECTIONS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
            raise ConfigurationError(
                f"{what} cannot listen on the address {host}: {error.strerror}",
                hint="--host takes an address of this machine, such as 127.0.0.1 or 0.0.0.0",
            ) from error
        raise ConfigurationError(
            f"port {port} on {host}, on which {what} should listen, cannot be used: {error.strerror}",
            code="port_taken",
            hint=f"stop what uses it, or choose another one with {chosen_by} in config.toml",
        ) from error
    return listener
