"""How long work is shown on a terminal of 80 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

SHOWN = """
import time
from isobase_deploy.cli.migrate_progress import MigrateProgress

with MigrateProgress() as progress:
    progress.begin("public." + "a_very_long_name" * 5, 1_000_000_000_000, "bytes")
    progress.advance("public." + "a_very_long_name" * 5, 500_000_000_000)
    progress.begin("[red]bucket[/red]", 3, "objects")
    progress.advance("[red]bucket[/red]", 1)
    time.sleep(0.5)
    progress.end("[red]bucket[/red]", "3 objects")
"""
LIMIT_S = 30.0


def on_terminal(program: str, columns: int) -> str:
    """What a program writes to a terminal of so many columns."""
    here, there = pty.openpty()
    try:
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=there,
            stdout=there,
            stderr=there,
            env=environment | {"TERM": "xterm"},
        )
        written, give_up_at = b"", time.monotonic() + LIMIT_S
        while time.monotonic() < give_up_at:
            if select.select([here], [], [], 0.1)[0]:
                written += os.read(here, 65536)
            elif process.poll() is not None:
                break
        assert process.wait(LIMIT_S) == 0, written
        return written.decode()
    finally:
        os.close(here)
        os.close(there)


def test_a_long_name_is_shortened_and_bar_and_figures_stay_within_the_line() -> None:
    written = on_terminal(SHOWN, 80)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    (line, *_) = (line for line in plain.splitlines() if "465.7 GiB of 931.3 GiB" in line)
    assert "a_very_long" in line
    assert "\N{HORIZONTAL ELLIPSIS}" in line
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in line
    # One column is left: what Ctrl-C shows of itself must not begin a line.
    assert len(line) < 80
    assert "[red]bucket[/red]" in plain
    assert "1 of 3 objects" in plain
