"""Sockets of the sync client: where the process has very many open, and where its pool is closed meanwhile."""

from __future__ import annotations

import socket
import sys
import threading
from collections import deque

import pytest

from isobase._http._sync.pool import SyncPool
from isobase._http.prepare import Origin
from isobase._http.streams import SyncSlots, SyncStream, is_readable, is_writable

if sys.platform == "win32":
    pytest.skip("descriptors are small numbers on POSIX systems alone", allow_module_level=True)

import fcntl
import resource

BEYOND_SELECT = 1100


def test_a_socket_of_a_large_number_is_waited_for() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft <= BEYOND_SELECT:
        pytest.skip(f"this process may have {soft} files open only")
    here, there = socket.socketpair()
    with here, there, socket.socket(fileno=fcntl.fcntl(here.fileno(), fcntl.F_DUPFD, BEYOND_SELECT)) as far:
        assert far.fileno() >= BEYOND_SELECT
        assert is_writable(far, 10.0)
        assert not is_readable(far)
        there.send(b"x")
        assert is_readable(far)


def test_a_connection_that_comes_back_while_its_pool_is_closed_in_another_thread_is_closed() -> None:
    class Closing(deque[tuple[float, SyncStream]]):
        """The pool is closed after it was found open, and before the connection is among the idle ones."""

        def append(self, item: tuple[float, SyncStream]) -> None:
            other = threading.Thread(target=pool.close)
            other.start()
            other.join(60.0)
            super().append(item)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        origin = Origin(is_tls=False, host="127.0.0.1", port=port)
        pool = SyncPool()
        pool._idle[origin] = Closing()
        pool._slots[origin] = SyncSlots(1)
        pool._slots[origin].acquire(1.0)
        stream = SyncStream.connect("127.0.0.1", port, None, 60.0)
        there, _ = listener.accept()
        with there:
            pool.take_back(origin, stream, is_clean=True)
            there.settimeout(60.0)
            assert there.recv(1) == b""  # its other end is closed
        assert not pool._idle[origin]
