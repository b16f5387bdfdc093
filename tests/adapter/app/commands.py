"""The operator's commands, as processes: what stands in the runbook is what is run here."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.adapter.pair import Pair
from tests.plugins.stack import ISOBASE, clean_environment

__all__ = ["CommandFailed", "SyncProcess", "migrate"]

COMMAND_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0


class CommandFailed(AssertionError):
    """A command ended otherwise than it should; the text is what it said."""


def migrate(pair: Pair, *arguments: str, exit_codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run ``isobase migrate ...`` and give what it prints as JSON. Raises ``CommandFailed``."""
    done = subprocess.run(
        [str(ISOBASE), "migrate", *arguments, "-o", "json"],
        env=clean_environment() | pair.environment(),
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    if done.returncode not in exit_codes:
        raise CommandFailed(f"{' '.join(arguments)}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return {"text": done.stdout}
    return found if isinstance(found, dict) else {"found": found}


class SyncProcess:
    """A running ``isobase migrate sync``."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        self._pair = pair
        self.log = folder / "sync.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(ISOBASE), "migrate", "sync", "-o", "json"],
                env=clean_environment() | self._pair.environment(),
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it as an operator does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            if error is None:
                raise
        if error is not None:
            sys.stderr.write(self.log.read_text()[-4000:])
