"""The SQL of a scenario alone, by pgbench."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.rest.scenarios import ME, NOTES_PER_USER, Scenario, user_id

__all__ = ["pgbench"]


def pgbench(scenario: Scenario, url: str, *, clients: int, seconds: float) -> float:
    """Transactions per second of the scenario's SQL with role and claims set in each, statements prepared."""
    claims = f'{{"role": "{scenario.role}", "sub": "{user_id(ME)}"}}'
    lines = [
        f"\\set id {ME * NOTES_PER_USER} + random(0, {NOTES_PER_USER - 1})",
        "begin;",
        f"select set_config('request.jwt.claims', '{claims}', true), set_config('role', '{scenario.role}', true);",
        f"{scenario.sql};",
        "commit;",
    ]
    with tempfile.TemporaryDirectory(prefix="isobase-bench-") as name:
        script = Path(name) / "script.sql"
        script.write_text("\n".join(lines))
        done = subprocess.run(
            ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-T", f"{seconds:.0f}", "-f", str(script), url],
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode != 0 or found is None:
        raise SystemExit(f"pgbench failed for {scenario.name}:\n{done.stderr}")
    return float(found.group(1))
