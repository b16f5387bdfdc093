"""Flags in a file, TOML or JSON, for small set-ups and for flags that are kept in a repository.

    [flags]
    "*" = "dual_write"
    "table:public.orders" = { stage = "live", before = "shadow_read", share_percent = 10, users = ["..."] }

    [rules."table:public.orders"]
    ignore_columns = ["updated_at"]

It is looked at again when it changed. A file that cannot be read, or in which a flag goes further than to a neighbour
of its stage, leaves the flags in force that were read last. Who is written first is not the file's to say: that is
handed over by ``isobase migrate cutover`` and kept in the control store.
"""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from isobase_adapter.capabilities import Capability, most_specific, patterns_of
from isobase_adapter.contracts import Flag
from isobase_adapter.flags.shares import stage_for
from isobase_adapter.flags.stages import FlagUnclear
from isobase_adapter.stages import Stage

__all__ = ["FileFlags", "read_flags_file"]

LOOK_EVERY_S = 0.25


class FileFlags:
    """Flags in a file.

    path: ends in ``.json`` or is TOML. Raises ``ValueError`` or ``OSError`` where it cannot be read at first: then
    nothing is known.
    """

    def __init__(self, path: Path, *, look_every_s: float = LOOK_EVERY_S) -> None:
        """Read the file."""
        self._path = path
        self._look_every_s = look_every_s
        self._lock = threading.Lock()
        self._signature = _signature(path)
        self._flags, self._rules = read_flags_file(path)
        self._error: str | None = None
        self._next_look = monotonic() + look_every_s

    @property
    def flags(self) -> Mapping[str, Flag]:
        """The flags in force, by pattern."""
        self._look()
        return self._flags

    @property
    def rules(self) -> Mapping[str, Mapping[str, Any]]:
        """The rules in force, by pattern."""
        self._look()
        return self._rules

    def stage_of(self, capability: Capability, user: str) -> Stage | None:
        """Give the stage, or None where no pattern fits. Raises ``FlagUnclear`` while the file cannot be read."""
        self._look()
        if self._error is not None:
            raise FlagUnclear(self._error)
        pattern = most_specific(self._flags, capability)
        return None if pattern is None else stage_for(self._flags[pattern], user)

    def close(self) -> None:
        """Nothing is open."""

    def _look(self) -> None:
        now = monotonic()
        if now < self._next_look:
            return
        with self._lock:
            self._next_look = now + self._look_every_s
            try:
                signature = _signature(self._path)
                if signature == self._signature:
                    return
                flags, rules = read_flags_file(self._path)
                _check_steps(self._flags, flags)
            except (OSError, ValueError) as error:
                self._error = f"{self._path.name}: {error}"
                return
            self._flags, self._rules, self._signature, self._error = flags, rules, signature, None


def read_flags_file(path: Path) -> tuple[dict[str, Flag], dict[str, dict[str, Any]]]:
    """Read flags and rules. Raises ``ValueError`` that names what is wrong, ``OSError`` where there is no file."""
    text = path.read_text()
    value = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    if not isinstance(value, dict) or set(value) - {"flags", "rules"}:
        raise ValueError("a flags file has the tables flags and rules, and nothing else")
    flags: dict[str, Flag] = {}
    for name, entry in dict(value.get("flags", {})).items():
        for pattern in patterns_of(name):
            flags[pattern] = _flag(pattern, entry)
    rules: dict[str, dict[str, Any]] = {}
    for name, entry in dict(value.get("rules", {})).items():
        if not isinstance(entry, dict):
            raise ValueError(f"{name}: rules are a table")
        for pattern in patterns_of(name):
            rules[pattern] = dict(entry)
    return flags, rules


def _flag(pattern: str, entry: Any) -> Flag:
    given = {"stage": entry} if isinstance(entry, str) else entry
    if (
        not isinstance(given, dict)
        or set(given) - {"stage", "before", "share_percent", "users"}
        or "stage" not in given
    ):
        raise ValueError(f"{pattern}: a flag is a stage, or a table of stage, before, share_percent and users")
    share = given.get("share_percent", 100)
    if not isinstance(share, int | float) or not 0 <= share <= 100:
        raise ValueError(f"{pattern}: share_percent is from 0 to 100")
    stage = _stage(pattern, given["stage"])
    before = _stage(pattern, given.get("before", stage))
    if share < 100 and not stage.may_become(before):
        raise ValueError(f"{pattern}: a share needs before, the neighbour of {stage} in which the other users are")
    users = given.get("users", [])
    if not isinstance(users, list) or not all(isinstance(user, str) for user in users):
        raise ValueError(f"{pattern}: users is a list of ids")
    return Flag(pattern, stage, before, float(share), frozenset(users))


def _stage(pattern: str, text: object) -> Stage:
    try:
        return Stage(str(text))
    except ValueError:
        raise ValueError(f"{pattern}: {text!r} is not a stage; stages are {', '.join(Stage)}") from None


def _check_steps(before: Mapping[str, Flag], after: Mapping[str, Flag]) -> None:
    """Refuse flags that jump over a stage."""
    order = list(Stage)
    for pattern in before.keys() | after.keys():
        stages = [order.index(_for_all(flags, pattern)) for flags in (before, after)]
        if abs(stages[0] - stages[1]) > 1:
            raise ValueError(
                f"{pattern}: from {order[stages[0]]} to {order[stages[1]]} is more than one stage; go one at a time"
            )


def _for_all(flags: Mapping[str, Flag], pattern: str) -> Stage:
    return flags[pattern].stage if pattern in flags else Stage.OFF


def _signature(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return (state.st_mtime_ns, state.st_size, state.st_ino)
