"""What the command line says: answers on standard output, progress, warnings and errors on standard error.

On a terminal progress is a line that moves (rich); elsewhere each step is one plain line, for logs.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from isobase_deploy.migrations import ScriptError
from isobase_platform.errors import IsobaseError
from isobase_platform.observe import mask_secrets

if TYPE_CHECKING:
    from rich.status import Status

__all__ = ["Output", "error_text"]


class Output:
    """Progress and warnings of one command; a ``Report`` for whoever does the work. Use it as a context manager."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._status: Status | None = None
        self._started_s = time.monotonic()

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def step(self, text: str) -> None:
        """Something begins: it replaces the step before on a terminal, and is a line of its own elsewhere."""
        if not self._is_terminal:
            self._line(f"{text}...")
            return
        if self._status is None:
            # Late: rich takes a while to import, and half of the commands never need it.
            from rich.console import Console

            self._status = Console(stderr=True).status(text)
            self._status.start()
        else:
            self._status.update(text)

    def warn(self, text: str) -> None:
        """One warning, kept on the screen."""
        self._line(f"warning: {text}")

    def say(self, text: str) -> None:
        """One line that stays, on standard error."""
        self._line(text)

    def finish(self) -> None:
        """Take the moving line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the command began to speak."""
        return time.monotonic() - self._started_s

    def _line(self, text: str) -> None:
        if self._status is not None:
            self._status.stop()
        print(mask_secrets(text), file=sys.stderr, flush=True)  # noqa: T201  the command line's voice
        if self._status is not None:
            self._status.start()


def error_text(error: IsobaseError) -> str:
    """One message for an expected failure: what, where, and what to do; never a stack trace, never a secret."""
    if isinstance(error, ScriptError):
        return _script_error_text(error)
    lines = [f"error: {error.message}"]
    if error.details and error.details not in error.message:
        lines += [f"  {line}" for line in error.details.splitlines()]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return mask_secrets("\n".join(lines))


def _script_error_text(error: ScriptError) -> str:
    lines = [
        f"error: {error.path}, line {error.line}: {error.message} (SQLSTATE {error.sqlstate})",
        *(f"  {line}" for line in error.excerpt.splitlines()),
    ]
    lines += [f"{name}: {text}" for name, text in (("detail", error.details), ("hint", error.hint)) if text]
    if error.is_partial:
        lines.append(
            "The file ran statement by statement, so what stands before this line was done and stays;"
            " make it repeatable (if not exists) or undo it, then correct the line."
        )
    else:
        lines.append("Nothing of this file was applied; files before it stay.")
    lines.append("Correct the file and run the command again, or start afresh with: isobase db reset")
    return mask_secrets("\n".join(lines))
