"""postmaster.pid: the process that it names, how far that is, and the end of one that a killed predecessor left.

Neighbour: ``server``, whose caller holds the data directory's lock, so that such a process is nobody's any more.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from isobase_platform.errors import Unavailable

__all__ = ["end_predecessor", "pid_in", "status_in"]

ORPHAN_STOPS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 3.0))
"""What an orphan is told one after the other, and how many seconds it has each time."""
REAPED_WAIT_S = 3.0
"""How long a process that has ended may be left there before its number is taken for nobody's."""
POLL_S = 0.01


def pid_in(pid_file: Path) -> int | None:
    """The process id in the first line, or None where there is no such file or number."""
    try:
        return abs(int(pid_file.read_text().partition("\n")[0]))
    except (OSError, ValueError):
        return None


def status_in(pid_file: Path) -> str:
    """PostgreSQL's own word in line 8: starting, standby, ready or stopping."""
    try:
        lines = pid_file.read_text().splitlines()
    except OSError:
        return ""
    return lines[7].strip() if len(lines) > 7 else ""


def end_predecessor(cluster_dir: Path) -> None:
    """Stop a server that outlived its parent, and remove a file whose process is not a server of this cluster.

    Raises ``Unavailable`` for a server that does not end.
    """
    pid_file = cluster_dir / "postmaster.pid"
    pid = pid_in(pid_file)
    if pid is None:
        return
    if _is_server_of(cluster_dir, pid):
        _stop(pid)
    _wait_until_reaped(pid)
    # PostgreSQL itself clears a file whose process is gone. When the number was given to another process, as in
    # a container that always numbers alike, or nobody waits for a process that has ended, it would refuse to start;
    # we know better, because we hold the lock.
    if _is_alive(pid) and pid_in(pid_file) == pid:
        pid_file.unlink(missing_ok=True)


def _is_server_of(cluster_dir: Path, pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return Path(os.fsdecode(words[0])).name == "postgres" and os.path.realpath(f"/proc/{pid}/cwd") == str(
            cluster_dir.resolve()
        )
    except OSError:
        return False


def _stop(pid: int) -> None:
    """End a server that is nobody's child any more, in order where it can."""
    for number, wait_s in ORPHAN_STOPS:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline_s = time.monotonic() + wait_s
        while time.monotonic() < deadline_s:
            if not _is_alive(pid) or _is_zombie(pid):
                return
            time.sleep(POLL_S)
    raise Unavailable(f"an old PostgreSQL (process {pid}) on this data does not end")


def _wait_until_reaped(pid: int) -> None:
    """Give whom an ended process was left to, the system's first one, a moment to wait for it."""
    deadline_s = time.monotonic() + REAPED_WAIT_S
    while _is_zombie(pid) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_zombie(pid: int) -> bool:
    """A process that ended but that nobody has waited for: what a container without an init makes of orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except OSError:
        return False
