"""Write sdk-compliance.yaml, by which an SDK tells Supabase's capability matrix what it has, from what the tests showed.

    scripts/sdk_compliance.py REPORT ...   write the file; a REPORT is what pytest's ``--capabilities-report`` wrote
    scripts/sdk_compliance.py --check      change nothing; exit 1 where the file and the tests' markers disagree

A feature is implemented where every test that is marked with it passed. What is left out on purpose stands with its reason in
sdk/capabilities-left-out.toml. Source: the README of github.com/supabase/sdk ("SDK compliance").
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FEATURES = ROOT / "sdk" / "capabilities.txt"
LEFT_OUT = ROOT / "sdk" / "capabilities-left-out.toml"
COMPLIANCE = ROOT / "sdk-compliance.yaml"
HEAD = """\
# What the Python client `isobase` has of Supabase's SDK capability matrix (https://github.com/supabase/sdk, release 1.2.0).
# Written by `make sdk-compliance` from the tests that show each feature; features that are not listed are not implemented.

sdk: python

features:
"""


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
            [*listing, "--capabilities-report", str(report)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"the tests cannot be listed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return {feature: sorted(tests) for feature, tests in json.loads(report.read_text()).items()}


def compliance(outcomes: dict[str, dict[str, str]]) -> str:
    """Write the file's text: ``outcomes`` is, by feature, how each of its tests ended."""
    reasons = left_out()
    lines = [HEAD]
    for feature in features():
        ends = set(outcomes.get(feature, {}).values())
        if feature in reasons:
            lines.append(f"  {feature}:\n    status: not_implemented\n    note: {json.dumps(reasons[feature])}\n")
        elif ends == {"passed"}:
            lines.append(f"  {feature}: implemented\n")
    return "".join(lines)


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
    outcomes: dict[str, dict[str, str]] = {}
    for report in sys.argv[1:]:
        for feature, ends in json.loads(Path(report).read_text()).items():
            outcomes.setdefault(feature, {}).update(ends)
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
