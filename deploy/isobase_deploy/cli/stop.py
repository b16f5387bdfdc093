"""``isobase stop``: ask the running server to end in order, and wait until it has."""

from __future__ import annotations

import argparse
import os
import signal
import time

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.flags import project_of
from isobase_deploy.cli.status import NotRunningError
from isobase_deploy.datadir import DataDir
from isobase_platform.errors import Unavailable

__all__ = ["run"]

EXTRA_TIMEOUT_S = 10.0
"""On top of the drain: closing connections and PostgreSQL's own shutdown."""
POLL_S = 0.02


def run(parsed: argparse.Namespace) -> int:
    """Stop the server on the project's data directory; nothing to stop is no failure, as upstream has it."""
    project = project_of(parsed)
    data_dir = DataDir(project.settings.data_dir)
    state = data_dir.running()
    if state is None:
        if data_dir.is_locked():
            raise NotRunningError(data_dir)
        print(f"isobase does not run on {data_dir.path}")  # noqa: T201  the command's answer
    else:
        os.kill(state.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + project.settings.drain_timeout_s + EXTRA_TIMEOUT_S
        while data_dir.is_locked():
            if time.monotonic() > deadline_s:
                raise Unavailable(f"process {state.pid} does not end", hint=f"end it by force: kill -9 {state.pid}")
            time.sleep(POLL_S)
        print("Stopped isobase.")  # noqa: T201
    if parsed.no_backup:
        data_dir.lock()
        try:
            is_gone = data_dir.delete()
        finally:
            data_dir.unlock()
        left = "" if is_gone else " What else is in it stays."
        print(f"Deleted the data in {data_dir.path}.{left}")  # noqa: T201
    return ExitCode.OK
