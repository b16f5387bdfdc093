"""Write sdk-compliance.yaml, by which an SDK tells Supabase's capability matrix what it has, from what the tests showed.

    scripts/sdk_compliance.py REPORT ...   write the file; a REPORT is what pytest's ``--capabilities-report`` wrote
                                           (one that is not there is left out)
    scripts/sdk_compliance.py --check      change nothing; exit 1 where the file and the tests' markers disagree

A feature is implemented where every test that is marked with it passed in one of the reports at least, and failed in none.
What is left out on purpose stands with its reason in sdk/capabilities-left-out.toml. Source: the README of
github.com/supabase/sdk ("SDK compliance").
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
FEATURES = ROOT / "sdk" / "capabilities.txt"
LEFT_OUT = ROOT / "sdk" / "capabilities-left-out.toml"
COMPLIANCE = ROOT / "sdk-compliance.yaml"
HEAD = """\
# What the Python client `isobase` has of Supabase's SDK capability matrix (https://github.com/supabase/sdk, release 1.2.0).
# Written by `make sdk-compliance`, never by hand, from the tests that are marked with each feature: `implemented` means that
# all of them passed on running servers: Isobase (`make test`; functions on a server of the tests, as Isobase runs none), or,
# for what no Isobase answers (sign-ins of companies and with wallets, custom providers, vector and analytics buckets), GoTrue
# (`make test-sdk-auth-upstream`) and supabase/storage with an Iceberg catalog (`make test-sdk-storage-upstream`). What is not
# implemented stands with its reason.

sdk: python

features:
"""
ENDS = ("skipped", "passed", "failed")
# With these the tests that ask an upstream server are listed too; nothing is asked.
ALL_SERVERS = {"GOTRUE_BINARY": sys.executable, "STORAGE_UPSTREAM_URL": "http://127.0.0.1:9/"}


def features() -> list[str]:
    """Give the matrix's features in its order."""
    return [line for line in FEATURES.read_text().splitlines() if line and not line.startswith("#")]


def left_out() -> dict[str, str]:
    """Give the features that are left out on purpose, with their reasons."""
    return {str(name): str(reason) for name, reason in tomllib.loads(LEFT_OUT.read_text()).items()}


def marked() -> dict[str, list[str]]:
    """Give the features that tests are marked with, and these tests; pytest lists them without running any."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "listed.json")
        listing = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-n0", "-m", "capability", "tests/sdk"]
        done = subprocess.run(
            [*listing, "--capabilities-report", str(report)],
            cwd=ROOT,
            env={**os.environ, **ALL_SERVERS},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the tests cannot be listed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return {feature: sorted(tests) for feature, tests in json.loads(report.read_text()).items()}


def compliance(outcomes: dict[str, dict[str, str]]) -> str:
    """Write the file's text: ``outcomes`` is, by feature, how each of its tests ended."""
    reasons = left_out()
    lines = [HEAD]
    for feature in features():
        if feature in reasons:
            lines.append(f"  {feature}:\n    status: not_implemented\n    note: {json.dumps(reasons[feature])}\n")
        elif set(outcomes.get(feature, {}).values()) == {"passed"}:
            lines.append(f"  {feature}: implemented\n")
    return "".join(lines)


def merged(reports: Iterable[Mapping[str, Mapping[str, str]]]) -> dict[str, dict[str, str]]:
    """Give how each test of each feature ended in all reports: a failure counts most, and a pass more than being left out."""
    outcomes: dict[str, dict[str, str]] = {}
    for report in reports:
        for feature, ends in report.items():
            known = outcomes.setdefault(feature, {})
            for test, end in ends.items():
                known[test] = max(known.get(test, end), end, key=ENDS.index)
    return outcomes


def problems() -> list[str]:
    """Tell where the matrix, the markers, the reasons and the written file do not agree."""
    known, reasons, tests = set(features()), left_out(), marked()
    written = dict(re.findall(r"^  ([a-z0-9_.]+):(?: (\w+))?", COMPLIANCE.read_text(), re.M))
    told = [f"{feature}: no such feature in {FEATURES.name}" for feature in sorted({*reasons, *tests} - known)]
    told += [
        f"{feature}: left out, and yet shown by {', '.join(tests[feature])}"
        for feature in sorted(reasons.keys() & tests)
    ]
    told += [
        f"{feature}: no test shows it and no reason is given"
        for feature in sorted(known - tests.keys() - reasons.keys())
    ]
    told += [
        f"{feature}: shown by a test, not written as implemented"
        for feature in sorted(tests)
        if written.get(feature) != "implemented"
    ]
    told += [
        f"{feature}: written as implemented without a test"
        for feature, how in written.items()
        if how and feature not in tests
    ]
    return told


def main() -> int:
    """Write or check the file; gives the exit code."""
    if sys.argv[1:] == ["--check"]:
        found = problems()
        print("\n".join(found))
        return 1 if found else 0
    outcomes = merged(json.loads(path.read_text()) for path in map(Path, sys.argv[1:]) if path.exists())
    COMPLIANCE.write_text(compliance(outcomes))
    failed = {feature: ends for feature, ends in outcomes.items() if set(ends.values()) != {"passed"}}
    for feature, ends in failed.items():
        print(f"not shown: {feature} ({', '.join(f'{test} {how}' for test, how in ends.items() if how != 'passed')})")
    print(
        f"{len(outcomes) - len(failed)} of {len(features())} features shown, {len(left_out())} left out with a reason"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
