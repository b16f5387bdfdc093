"""Which account PostgreSQL runs as, and whether that account can reach its files.

PostgreSQL refuses to run as root. An ordinary user runs it as himself; for root an unprivileged account of the machine is
taken, and where the files lie below a directory that the account may not enter (``/root/project``), the child keeps the
one capability that lets it read past that directory. Neighbour: ``launch`` carries it out.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from isobase_platform.errors import ConfigurationError

__all__ = ["Account", "choose_account"]

ACCOUNTS_FOR_ROOT = ("postgres", "nobody")
CAP_DAC_READ_SEARCH = 2


@dataclass(slots=True, frozen=True)
class Account:
    """The user that PostgreSQL's processes run as.

    ``is_switched``: it is another user than ours, and what PostgreSQL writes must be given to it. ``reads_everything``: it
    keeps CAP_DAC_READ_SEARCH.
    """

    name: str
    uid: int
    gid: int
    is_switched: bool
    reads_everything: bool = False

    @property
    def launch_options(self) -> list[str]:
        """The options for ``launch``."""
        if not self.is_switched:
            return []
        options = [f"--account={self.uid}:{self.gid}"]
        return [*options, "--read-everything"] if self.reads_everything else options

    def give(self, path: Path) -> None:
        """Make ``path`` this account's own, for it alone (mode 0700)."""
        path.chmod(0o700)
        if self.is_switched:
            os.chown(path, self.uid, self.gid)

    def give_tree(self, path: Path) -> None:
        """Make a data directory and all in it this account's own: it may have been written by another one before."""
        self.give(path)
        if not self.is_switched:
            return
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                # Links (tablespaces) are not followed: what lies outside is not ours to give away.
                os.chown(Path(folder) / name, self.uid, self.gid, follow_symlinks=False)


def choose_account(program: Path, paths: Sequence[Path]) -> Account:
    """The account for PostgreSQL, whose program is ``program`` and whose other files are at ``paths``.

    Raises ``ConfigurationError`` when we are root and no unprivileged account exists, when that account may not execute the
    program, or when it cannot reach a path and this process may not pass the capability on.
    """
    uid = os.geteuid()
    if uid != 0:
        return Account(_name_of(uid), uid, os.getegid(), is_switched=False)
    for name in ACCOUNTS_FOR_ROOT:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            break
    else:
        raise ConfigurationError(
            "PostgreSQL does not run as root, and this machine has no account named "
            + " or ".join(ACCOUNTS_FOR_ROOT)
            + " to run it as",
            hint="start isobase as an ordinary user, or add an account: useradd --system postgres",
        )
    if not program.stat().st_mode & stat.S_IXOTH:
        raise ConfigurationError(
            f"PostgreSQL runs as {entry.pw_name} here, and that account may not execute {program}",
            hint=f"the package was installed for root alone; allow others: chmod -R o+rX {program.parents[1]}",
        )
    blocked = next(
        (found for path in (program, *paths) if (found := _blocking_parent(path, entry.pw_uid, entry.pw_gid))), None
    )
    if blocked is not None and not _may_keep_read_capability():
        raise ConfigurationError(
            f"PostgreSQL runs as {entry.pw_name} here, and that account may not enter {blocked}",
            hint=f"choose another place with --data-dir, or allow it: chmod o+x {blocked}",
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, is_switched=True, reads_everything=blocked is not None)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        # Containers run with numbers that nobody wrote down.
        return str(uid)


def _blocking_parent(path: Path, uid: int, gid: int) -> Path | None:
    """The outermost existing directory above ``path`` that the account may not search, or None."""
    resolved = path.resolve()
    for folder in reversed(resolved.parents):
        try:
            status = folder.stat()
        except FileNotFoundError:
            return None
        if status.st_uid == uid:
            allowed = status.st_mode & stat.S_IXUSR
        elif status.st_gid == gid:
            allowed = status.st_mode & stat.S_IXGRP
        else:
            allowed = status.st_mode & stat.S_IXOTH
        if not allowed:
            return folder
    return None


def _may_keep_read_capability() -> bool:
    """Whether our own bounding and permitted sets hold the capability (a container may have dropped it)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return False
    sets = {
        name: int(value, 16)
        for name, _, value in (line.partition(":\t") for line in lines)
        if name in {"CapPrm", "CapBnd"}
    }
    return all(sets.get(name, 0) >> CAP_DAC_READ_SEARCH & 1 for name in ("CapPrm", "CapBnd"))
