"""Run a command beside a Supabase of its real servers, which it finds by ``SUPABASE_TEST_URL`` and the others.

python -m tests.adapter.upstream python -m pytest -n0 tests/adapter/bulk
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.adapter.upstream.places import MissingServerError, Places
from tests.adapter.upstream.whole import running_supabase


def _main() -> int:
    # Ended from outside, too, no server is left.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        places = Places.from_environment()
    except MissingServerError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="isobase-upstream-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with running_supabase(places, folder) as supabase:
            environment = {**os.environ, **supabase.environment()}
            return subprocess.run(sys.argv[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(_main())
