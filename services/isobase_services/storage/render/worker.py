"""The program of a rendering process: takes one job at a time, with two open files, until the other side is gone.

The process has no path, no secret and no environment of the service; what it may use is limited by the kernel, so that a
source that breaks a decoder or blows up in it ends this process and nothing else. ``pool`` starts it.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal
import socket
import sys

from isobase_services.storage.render.job import (
    LENGTH_BYTES,
    MAX_MESSAGE_BYTES,
    Job,
    Refusal,
    Rendered,
    framed,
    is_whole,
)

__all__ = ["main"]

MAX_RESULT_BYTES = 256 * 1024 * 1024
"""No result comes near it; what does is a bomb."""
MAX_OPEN_FILES = 64
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main(arguments: list[str]) -> None:
    """Serve jobs; ``arguments`` are the socket's descriptor, the memory in bytes, and seconds of CPU for one job.

    Says first that it is ready, or why it cannot be.
    """
    descriptor, memory_bytes, timeout_s = int(arguments[0]), int(arguments[1]), float(arguments[2])
    with socket.socket(fileno=descriptor) as service:
        _limit(memory_bytes)
        try:
            from isobase_services.storage.render import pipeline

            pipeline.prepare_libvips()
        except Exception as error:  # noqa: BLE001  whatever is missing, the service has to hear it
            service.sendall(framed(f"libvips cannot be loaded: {error}".encode()))
            return
        service.sendall(framed(b"ready"))
        while True:
            message, files = _received(service)
            if message is None:
                return
            try:
                _limit_cpu(timeout_s)
                reply = _answer(Job.from_json(message), files[0], files[1])
            finally:
                for file in files:
                    os.close(file)
            service.sendall(framed(reply.to_json()))


def _received(service: socket.socket) -> tuple[bytes | None, list[int]]:
    """The next message and the files with it; None where the other side is gone."""
    received, files, _, _ = socket.recv_fds(service, MAX_MESSAGE_BYTES, 2)
    while received and not is_whole(received):
        rest = service.recv(MAX_MESSAGE_BYTES)
        if not rest:
            break
        received += rest
    return (received[LENGTH_BYTES:] if is_whole(received) else None), files


def _answer(job: Job, source: int, result: int) -> Rendered:
    from isobase_services.storage.render import pipeline

    try:
        with os.fdopen(os.dup(source), "rb") as file:
            file.seek(0)
            content, format_ = pipeline.render(file.read(), job)
    except pipeline.Refused as refused:
        return Rendered(None, refused.reason)
    except (MemoryError, RecursionError):
        return Rendered(None, Refusal.UNSUPPORTED)
    try:
        _write(result, content)
    except OSError:  # a full disk, say: nothing that the source did
        return Rendered(None, Refusal.FAILED)
    return Rendered(format_)


def _write(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS takes no limit of this kind
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_RESULT_BYTES, MAX_RESULT_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    # Ctrl-C is the service's to handle; it ends this process by its socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _limit_cpu(timeout_s: float) -> None:
    """The second belt: should the service not be there to end a job that takes too long, the kernel does."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit_s = math.ceil(used.ru_utime + used.ru_stime + timeout_s) + 1
    with contextlib.suppress(ValueError):  # a lower hard limit of the machine's stays
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.getrlimit(resource.RLIMIT_CPU)[1]))
