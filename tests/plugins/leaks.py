"""Who left a socket open: warnings are errors, but one of a socket comes when the garbage is collected, in any later test.

Every file is followed by a collection, so that what it left is found at its own end, and a warning of a socket tells in
which test, and where, that was made.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

__all__: list[str] = []

SHOWN_FRAMES = 12
_origins: dict[int, tuple[str, tuple[str, ...]]] = {}
"""By the identity of a socket: the test in which it was made, and the lines that led there, the last one first."""


def _look(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.__new__":
        _origins[id(args[0])] = (os.environ.get("PYTEST_CURRENT_TEST", "no test"), _lines(sys._getframe(1)))


def _lines(frame: FrameType | None) -> tuple[str, ...]:
    lines: list[str] = []
    while frame is not None and len(lines) < SHOWN_FRAMES:
        lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(lines)


@pytest.hookimpl(trylast=True)  # after pytest has set its own hook
def pytest_configure() -> None:
    """Let what cannot be raised tell of its socket."""
    sys.addaudithook(_look)
    show = sys.unraisablehook

    def tell(unraisable: sys.UnraisableHookArgs) -> None:
        found = _origins.get(id(unraisable.object)) if isinstance(unraisable.object, socket.socket) else None
        if found is not None and unraisable.exc_value is not None:
            test, lines = found
            unraisable.exc_value.add_note("\n  ".join((f"The socket was made in {test}, at:", *lines)))
        show(unraisable)

    sys.unraisablehook = tell


@pytest.fixture(autouse=True, scope="module")
def garbage_of_the_file() -> Iterator[None]:
    """Collect the garbage after the last test of a file; what is in use then is not looked at again, which takes time."""
    yield
    gc.collect()
    gc.freeze()
