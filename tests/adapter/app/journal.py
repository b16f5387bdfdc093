"""What the sample app's users did: a line for each fact that they began, and one for how it ended, on disk before the next.

A fact is a write with its effects: for each thing (a row, an object) the value that it has afterwards, None where it is
gone. Whoever reads the journals knows for each thing which values it may have at the end.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

__all__ = ["Expected", "Journal", "Reader", "Report", "report_of"]

Effects = Mapping[str, str | None]


class Journal:
    """One process's journal."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._facts = 0

    def begin(self, user: str, what: str, effects: Effects) -> int:
        """A fact begins; gives its number in this journal."""
        self._facts += 1
        self._write({"state": "begun", "fact": self._facts, "user": user, "what": what, "effects": dict(effects)})
        return self._facts

    def acknowledge(self, fact: int, *, side: str = "") -> None:
        """The app was told that it counts; on disk when this returns."""
        self._write({"state": "acknowledged", "fact": fact, "side": side})
        os.fsync(self._file.fileno())

    def fail(self, fact: int, error: BaseException) -> None:
        """The app was given an error."""
        self._write({"state": "failed", "fact": fact, "error": f"{type(error).__name__}: {error}"[:600]})

    def note(self, name: str, **detail: Any) -> None:
        """Something else: a read that was wrong, a session that ended."""
        self._write({"state": name, **detail})

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps({"at": round(time.time(), 4), "pid": os.getpid(), **line}) + "\n")
        self._file.flush()


@dataclass(slots=True)
class Expected:
    """What one thing may be at the end, and how it came to that."""

    possible: set[str | None] = field(default_factory=lambda: {None})
    is_acknowledged: bool = False
    history: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """All journals together."""

    things: dict[str, Expected] = field(default_factory=dict)
    acknowledged: int = 0
    said: dict[str, float] = field(default_factory=dict)
    """When each acknowledged message was said."""
    orders: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Of each acknowledged order whose it is, and when it was placed."""
    failed: list[str] = field(default_factory=list)
    notes: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def kinds(self) -> Counter[str]:
        """How many things of each kind were acknowledged."""
        return Counter(
            f"{name.partition('/')[0]} acknowledged" for name, thing in self.things.items() if thing.is_acknowledged
        )

    def lost(self, found: Mapping[str, str], kept: Iterable[str] = ()) -> list[str]:
        """What should be otherwise at a side that has ``found``, each with its history.

        kept: things of which a dead letter keeps both versions.
        """
        letters = set(kept)
        wrong = []
        for name, expected in self.things.items():
            if name not in letters and found.get(name) not in expected.possible:
                lines = "\n    ".join(expected.history[-12:])
                wrong.append(f"{name} is {found.get(name)!r}, may be {expected.possible}:\n    {lines}")
        return wrong + [f"{name} was never written" for name in found.keys() - self.things.keys()]


class Reader:
    """The journals of all processes; each line is read once. ``states``: how many lines there are of each state."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        self._lines: list[dict[str, Any]] = []
        self.states: Counter[str] = Counter()

    def read(self) -> list[dict[str, Any]]:
        """All lines there are by now."""
        for path in self._folder.glob("journal-*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._offsets.get(path, 0))
                text = file.read()
            whole, _, _ = text.rpartition(b"\n")
            self._offsets[path] = self._offsets.get(path, 0) + len(whole) + bool(whole)
            for line in whole.splitlines():
                try:
                    found = {**json.loads(line), "journal": path.name}
                except ValueError:
                    continue  # the line that a killed process was writing, and the next one's first
                self._lines.append(found)
                self.states[found["state"]] += 1
        return self._lines


def report_of(lines: Iterable[Mapping[str, Any]]) -> Report:
    """Put together what journals say. Each thing is written by one user alone, one fact after the other."""
    report = Report()
    lines = sorted(lines, key=lambda line: line["at"])
    begun: dict[tuple[str, int, int], Mapping[str, Any]] = {}
    for line in lines:
        state = line["state"]
        if state not in ("begun", "acknowledged", "failed"):
            report.notes.setdefault(state, []).append(line)
            continue
        number = (line["journal"], line["pid"], line["fact"])
        if state == "begun":
            begun[number] = line
        fact = begun[number]
        told = f"{line['at']:.3f} {state} {fact['what']} {line.get('side', '')}{line.get('error', '')}"
        for name, value in fact["effects"].items():
            expected = report.things.setdefault(name, Expected())
            expected.history.append(f"{told} -> {value!r}")
            if state == "begun":
                expected.possible.add(value)
            elif state == "acknowledged":
                expected.possible, expected.is_acknowledged = {value}, True
        if state == "acknowledged":
            report.acknowledged += 1
            if fact["what"].startswith("say "):
                report.said[fact["what"].removeprefix("say ")] = fact["at"]
            elif fact["what"] == "insert order":
                (name,) = fact["effects"]
                report.orders[name.removeprefix("orders/")] = (fact["user"], fact["at"])
        elif state == "failed":
            report.failed.append(f"{fact['user']} {fact['what']}: {line['error']}")
    return report
