"""Ports for servers that are started by their number, and started again on it."""

from __future__ import annotations

import errno
import random
import socket

__all__ = ["free_ports"]

FIRST, LAST = 20_000, 32_767
"""Below those that systems hand out (Linux from 32768): no connection that somebody opens meanwhile is given one of these,
nor is a server that asks for any port. What remains is another test's choice of the same one."""
_choose = random.SystemRandom()  # processes of one run have the same seed


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nobody uses now, and that nobody is given by chance."""
    found: list[int] = []
    while len(found) < count:
        port = _choose.randint(FIRST, LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                    raise
                continue
        if port not in found:
            found.append(port)
    return found
