"""Becomes PostgreSQL: gives up root, asks to be told when the parent dies, and replaces itself by the program.

Run as a file by a bare interpreter (``python -I -S launch.py OPTIONS -- PROGRAM ARGUMENTS``), because none of this is safe
between fork and exec in a process with threads. Neighbour: ``account`` decides the options; ``server`` runs the result.

``PR_SET_PDEATHSIG`` is cleared by a change of user, so it comes last; the capability must be raised after the change of
user, because that empties the effective set. Source: Linux prctl(2), capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_READ_SEARCH = 2
LINUX_CAPABILITY_VERSION_3 = 0x2008_0522

EXIT_CANNOT_LAUNCH = 125
"""Not one of PostgreSQL's own exit codes; the reason is on standard error."""


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def become(uid: int, gid: int, *, read_everything: bool) -> None:
    """Give up root for ``uid``/``gid`` without other groups.

    ``read_everything`` keeps CAP_DAC_READ_SEARCH, for files below a directory that only root may enter. Raises ``OSError``
    where the kernel or the container refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if read_everything:
        _check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl(PR_SET_KEEPCAPS)")
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if read_everything:
        header = _CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)
        bit = 1 << CAP_DAC_READ_SEARCH
        sets = (_CapabilitySets * 2)(_CapabilitySets(bit, bit, bit), _CapabilitySets(0, 0, 0))
        _check(libc.capset(ctypes.byref(header), sets), "capset")
        _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0), "prctl(PR_CAP_AMBIENT)")


def die_with_parent(parent_pid: int) -> None:
    """Have SIGINT (PostgreSQL: fast shutdown) sent to this process when its parent dies, however it dies.

    Does nothing where the system has no such thing. Raises ``SystemExit`` when the parent is gone already.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        raise SystemExit(EXIT_CANNOT_LAUNCH)


def main(arguments: list[str]) -> None:
    """Read ``[--parent=PID] [--account=UID:GID] [--read-everything] -- PROGRAM ...`` and become the program.

    Leaves with ``EXIT_CANNOT_LAUNCH`` and one line on standard error when it cannot.
    """
    border = arguments.index("--")
    options, program = arguments[:border], arguments[border + 1 :]
    values = dict(option.removeprefix("--").partition("=")[::2] for option in options)
    try:
        if "account" in values:
            uid, _, gid = values["account"].partition(":")
            become(int(uid), int(gid), read_everything="read-everything" in values)
        if "parent" in values:
            die_with_parent(int(values["parent"]))
        # A session of its own: Ctrl-C on the terminal must reach the server first, which then stops PostgreSQL in order.
        os.setsid()
        os.umask(0o077)
        os.execv(program[0], program)  # noqa: S606  that is this file's purpose; the arguments are our own
    except OSError as error:
        print(f"cannot start {program[0]}: {error}", file=sys.stderr)  # noqa: T201  read by the parent
        raise SystemExit(EXIT_CANNOT_LAUNCH) from None


if __name__ == "__main__":
    main(sys.argv[1:])
