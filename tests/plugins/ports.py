"""Ports for servers that a test starts, and starts again: none of them can be taken between its choice and its use.

They lie below those that systems give out by themselves (Linux from 32768 on), to sockets that bind to port 0 and to every
connection that is opened. A process of the suite holds the first port of each block that it hands ports out of.
"""

from __future__ import annotations

import socket

__all__ = ["free_ports"]

BLOCKS = range(10_000, 32_000, 250)
_ports: list[int] = []
"""What is left of the block that this process has."""


def free_ports(count: int) -> list[int]:
    """``count`` ports that nothing listens on and that nobody else in the suite is given while this process runs."""
    found: list[int] = []
    while len(found) < count:
        if not _ports:
            _take_block()
        if _is_free(port := _ports.pop()):
            found.append(port)
    return found


def _take_block() -> None:
    for first in BLOCKS:
        with socket.socket() as guard:
            try:
                guard.bind(("127.0.0.1", first))
            except OSError:
                continue
            guard.detach()  # held, without listening, until the process ends
            _ports.extend(range(first + BLOCKS.step - 1, first, -1))
            return
    raise RuntimeError("no block of ports is left")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
