"""Leaves these tests out of the suite: they run where the environment says for how many rounds (`make chaos-realtime...`)."""

from __future__ import annotations

import os
from pathlib import Path

collect_ignore_glob = [] if "ISOBASE_CHAOS_ROUNDS" in os.environ else [str(Path(__file__).parent / "test_*.py")]
