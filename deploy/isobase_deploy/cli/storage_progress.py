"""How a move shows how far it is: a bar on a terminal (rich), a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from isobase_deploy.cli.storage_text import size_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["MoveBar"]

LINE_INTERVAL_S = 5.0


class MoveBar:
    """A ``MoveProgress``. Use it as a context manager around the move."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._pass = 0
        self._objects = 0
        self._total = 0
        self._bytes = 0
        self._told_s = time.monotonic()

    def __enter__(self) -> MoveBar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[bytes]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def pass_begins(self, number: int) -> None:
        """Say that the target is listed and rows are read."""
        self._pass, self._objects, self._total = number, 0, 0
        text = f"Pass {number}: comparing"
        if self._bar is None:
            self._line(f"{text}...")
        elif self._task is None:
            self._task = self._bar.add_task(text, total=None, bytes="")
        else:
            self._bar.reset(self._task, description=text, total=None, bytes="")

    def to_copy(self, objects: int, size_bytes: int) -> None:
        """Say how many objects there are."""
        self._total = objects
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"Pass {self._pass}: {size_text(size_bytes)}", total=objects)
        else:
            self._line(f"Pass {self._pass}: {objects} objects, {size_text(size_bytes)}")

    def read(self, size_bytes: int) -> None:
        """Count bytes that were read."""
        self._bytes += size_bytes
        self._show(0)

    def done(self, objects: int) -> None:
        """Count objects that are done."""
        self._objects += objects
        self._show(objects)

    def _show(self, objects: int) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=objects, bytes=f"{size_text(self._bytes)} read")
        elif time.monotonic() - self._told_s >= LINE_INTERVAL_S:
            self._line(f"Pass {self._pass}: {self._objects}/{self._total} objects, {size_text(self._bytes)} read")

    def _line(self, text: str) -> None:
        self._told_s = time.monotonic()
        print(text, file=sys.stderr, flush=True)  # noqa: T201  the command's voice
