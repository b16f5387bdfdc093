"""Programs checked by mypy as a user of the installed client checks theirs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def strict_complaints(files: Sequence[Path]) -> str:
    """Give what ``mypy --strict`` says of ``files``, which stand in one folder.

    One set of options and one cache for all tests: reading pydantic and httpx anew costs more than everything else.
    """
    checked = subprocess.run(
        [
            *[sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"],
            "--allow-redefinition",  # a page shows the same name in the sync and in the async client
            # An awaiting top level is what `python -m asyncio` runs; true syntax errors are seen when the program runs.
            *["--disable-error-code", "top-level-await", "--disable-error-code", "syntax"],
            *["--cache-dir", str(ROOT / ".mypy_cache" / "users"), *map(str, files)],
        ],
        capture_output=True,
        text=True,
        cwd=files[0].parent,
        check=False,
    )
    assert checked.returncode in (0, 1), checked.stderr
    return checked.stdout
