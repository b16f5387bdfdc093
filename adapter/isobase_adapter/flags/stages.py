"""Which stage holds for a call, in microseconds and from any thread.

What decides is the control store's flag; where a file or another provider holds the flags, it decides, within what the
control store's flag allows (``before`` to ``stage``), if there is one. A value that makes no sense, and an error of the
provider, leave the last one that was known in force; where nothing was ever known, the call is refused.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import Protocol

from isobase_adapter.capabilities import Capability, most_specific
from isobase_adapter.contracts import Control, Event, Flag, Snapshot, Writer
from isobase_adapter.control.errors import NothingKnown
from isobase_adapter.flags.shares import stage_for
from isobase_adapter.stages import Stage

__all__ = ["ANONYMOUS", "Decision", "FlagSource", "FlagUnclear", "Stages"]

logger = logging.getLogger("isobase.migration.flags")

ANONYMOUS = "anonymous"
MAX_REMEMBERED = 10_000
ORDER = {stage: place for place, stage in enumerate(Stage)}


class FlagUnclear(Exception):
    """A source of flags could not say a stage; the text says why."""


class FlagSource(Protocol):
    """Where flags are held beside the control store."""

    def stage_of(self, capability: Capability, user: str) -> Stage | None:
        """Give the stage, or None where there is no flag. Never waits. Raises ``FlagUnclear``."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


@dataclass(slots=True, frozen=True)
class Decision:
    """A stage and the writer, read at the same moment."""

    stage: Stage
    writer: Writer
    snapshot: Snapshot


@dataclass(slots=True)
class _Known:
    """What a snapshot means for capabilities, found once each."""

    snapshot: Snapshot
    flags: dict[Capability, tuple[Flag | None, Writer]] = field(default_factory=dict)


class Stages:
    """Gives the stage and the writer of a capability.

    control: flags and writers. source: where flags are held instead, within what the control store allows. anonymous:
    stands for who is not signed in; shares then take them all or none.
    """

    def __init__(self, control: Control, source: FlagSource | None = None, *, anonymous: str = ANONYMOUS) -> None:
        """Ask nothing yet."""
        self._control = control
        self._source = source
        self._anonymous = anonymous
        self._known = _Known(Snapshot(version=-1))
        self._lock = threading.Lock()
        self._last: dict[Capability, Stage] = {}
        self._told: set[tuple[Capability, str]] = set()

    def stage_of(self, capability: Capability, user: str | None = None) -> Stage:
        """Give the stage that holds for ``user`` (an id; None: not signed in). Raises ``NothingKnown``."""
        return self.decide(capability, user).stage

    def writer_of(self, capability: Capability) -> Writer:
        """Give who is written first. Raises ``NothingKnown``."""
        return self._found(self._control.snapshot, capability)[1]

    def decide(self, capability: Capability, user: str | None = None) -> Decision:
        """Give stage and writer as of one moment; the stage is not clamped to the writer yet.

        Raises ``NothingKnown``.
        """
        snapshot = self._control.snapshot
        flag, writer = self._found(snapshot, capability)
        key = user or self._anonymous
        if self._source is None:
            stage = Stage.OFF if flag is None else stage_for(flag, key)
        else:
            stage = self._asked(self._source, capability, key, flag)
        return Decision(stage, writer, snapshot)

    def holds_for_all(self, capability: Capability) -> bool:
        """Whether the control store's flag holds for every user; without a flag, ``off`` does."""
        flag, _ = self._found(self._control.snapshot, capability)
        return flag is None or flag.is_for_all

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._source.close()

    def _found(self, snapshot: Snapshot, capability: Capability) -> tuple[Flag | None, Writer]:
        known = self._known
        if known.snapshot is not snapshot:
            # A heartbeat renews the snapshot's time alone: what was found stays good.
            is_same = known.snapshot.version == snapshot.version and known.snapshot.flags is snapshot.flags
            known = self._known = _Known(snapshot, known.flags if is_same else {})
        found = known.flags.get(capability)
        if found is None:
            flag = most_specific(snapshot.flags, capability)
            writer = most_specific(snapshot.writers, capability)
            found = (
                None if flag is None else snapshot.flags[flag],
                Writer(str(capability)) if writer is None else snapshot.writers[writer],
            )
            if len(known.flags) < MAX_REMEMBERED:
                known.flags[capability] = found
        return found

    def _asked(self, source: FlagSource, capability: Capability, user: str, limit: Flag | None) -> Stage:
        try:
            said = source.stage_of(capability, user)
        except FlagUnclear as error:
            self._tell(capability, "flag_unclear", str(error))
            said = self._last.get(capability)
            if said is None:
                if limit is None:
                    raise NothingKnown(f"{capability}: its flag cannot be read and was never known: {error}") from error
                said = stage_for(limit, user)
        else:
            if said is None:
                said = Stage.OFF if limit is None else stage_for(limit, user)
            self._remember(capability, said)
        if limit is None:
            return said
        allowed = (limit.before, limit.stage)
        if said not in allowed:
            self._tell(capability, "flag_out_of_bounds", f"{said} is not {limit.before} or {limit.stage}")
            return min(allowed, key=lambda stage: abs(ORDER[stage] - ORDER[said]))
        return said

    def _remember(self, capability: Capability, stage: Stage) -> None:
        if self._last.get(capability) is not stage and (capability in self._last or len(self._last) < MAX_REMEMBERED):
            self._last[capability] = stage

    def _tell(self, capability: Capability, name: str, text: str) -> None:
        """Tell an operator, once for each text."""
        with self._lock:
            if (capability, text) in self._told:
                return
            if len(self._told) >= MAX_REMEMBERED:
                self._told.clear()
            self._told.add((capability, text))
        logger.warning("%s: %s", capability, text)
        self._control.tell(Event(name, str(capability), {"error": text}))
