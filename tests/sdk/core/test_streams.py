"""Sockets of the sync client where the process has very many open."""

from __future__ import annotations

import socket
import sys

import pytest

from isobase._http.streams import is_readable, is_writable

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
