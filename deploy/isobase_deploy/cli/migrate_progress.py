"""How long work of a move is shown: bars on a terminal (rich), a line now and then elsewhere; on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from isobase_adapter.bulk.report import size_text
from isobase_platform.observe import mask_secrets

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

__all__ = ["MigrateProgress"]

LINE_INTERVAL_S = 5.0
BAR_WIDTH = 14
AMOUNT_WIDTH = 24
"""Of ``1023.9 MiB of 1023.9 GiB``."""
TIME_WIDTH = 7
FIGURES_WIDTH = BAR_WIDTH + AMOUNT_WIDTH + TIME_WIDTH + 3
MIN_NAME_WIDTH = 12


class MigrateProgress:
    """A ``Progress`` of ``isobase_adapter.bulk``. Use it as a context manager around the work."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._totals: dict[str, tuple[int, str]] = {}
        self._done: dict[str, int] = {}
        self._told_s = time.monotonic()

    def __enter__(self) -> MigrateProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichBars
            from rich.table import Column

            console = Console(stderr=True)
            # What is too long is shortened in the name alone: the bar and its figures stay. One column is left free, so
            # that what a terminal shows of Ctrl-C begins no line of its own, which would be drawn past.
            name_width = max(console.width - FIGURES_WIDTH - 1, MIN_NAME_WIDTH)
            self._bars = RichBars(
                TextColumn(
                    "{task.description}",
                    markup=False,
                    table_column=Column(max_width=name_width, no_wrap=True, overflow="ellipsis"),
                ),
                BarColumn(bar_width=BAR_WIDTH),
                TextColumn("{task.fields[amount]}", table_column=Column(width=AMOUNT_WIDTH, no_wrap=True)),
                TimeRemainingColumn(table_column=Column(width=TIME_WIDTH, no_wrap=True)),
                console=console,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def begin(self, part: str, total: int, unit: str) -> None:
        """Show a part."""
        self._totals[part], self._done[part] = (total, unit), 0
        if self._bars is not None:
            self._tasks[part] = self._bars.add_task(part, total=total or None, amount="")

    def advance(self, part: str, amount: int) -> None:
        """Show that more of it is done."""
        self._done[part] = self._done.get(part, 0) + amount
        if self._bars is not None and part in self._tasks:
            self._bars.update(self._tasks[part], advance=amount, amount=self._amount(part))
        elif self._bars is None and time.monotonic() - self._told_s >= LINE_INTERVAL_S:
            self._line(f"{part}: {self._amount(part)}")

    def end(self, part: str, text: str) -> None:
        """Take its bar away and say what came of it."""
        if self._bars is not None and part in self._tasks:
            self._bars.remove_task(self._tasks.pop(part))
        self._line(f"{part}: {text}")

    def say(self, text: str) -> None:
        """Say something that stays to be read."""
        self._line(text)

    def _amount(self, part: str) -> str:
        total, unit = self._totals.get(part, (0, ""))
        done = self._done.get(part, 0)
        if unit == "bytes":
            return f"{size_text(done)} of {size_text(total)}"
        return f"{done} of {total} {unit}" if total else f"{done} {unit}"

    def _line(self, text: str) -> None:
        self._told_s = time.monotonic()
        shown = mask_secrets(text)
        if self._bars is not None:
            self._bars.console.print(shown, markup=False, highlight=False)
        else:
            print(shown, file=sys.stderr, flush=True)  # noqa: T201  the command's voice
