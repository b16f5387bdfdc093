"""Which features of Supabase's SDK capability matrix the suite showed: ``--capabilities-report FILE`` writes them as JSON.

A test says which features it shows by ``@pytest.mark.capability("auth.sign_in.sign_up")``. The report holds for each feature
the tests that showed it and how they ended; ``scripts/sdk_compliance.py`` makes sdk-compliance.yaml of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import pytest

_PROPERTY = "capability"
_OUTCOMES = pytest.StashKey[dict[str, dict[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the report."""
    parser.addoption("--capabilities-report", metavar="FILE", help="write which features the tests showed, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Begin with no outcome."""
    outcomes: dict[str, dict[str, str]] = defaultdict(dict)
    config.stash[_OUTCOMES] = outcomes


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Carry the features of a test in its report, which travels from the suite's processes to the one that sums up."""
    report = yield
    for marker in item.iter_markers("capability"):
        report.user_properties.extend((_PROPERTY, feature) for feature in marker.args)
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Where tests are only listed, report which features they are marked with."""
    if session.config.option.collectonly:
        for item in session.items:
            for marker in item.iter_markers("capability"):
                for feature in marker.args:
                    session.config.stash[_OUTCOMES][str(feature)][item.nodeid] = "listed"


class _Collector:
    def __init__(self, config: pytest.Config) -> None:
        self._outcomes = config.stash[_OUTCOMES]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a test's worst outcome: a set-up or an end that fails counts like the test itself."""
        if report.when != "call" and report.passed:
            return
        for name, feature in report.user_properties:
            if name == _PROPERTY:
                self._outcomes[str(feature)][report.nodeid] = report.outcome


def pytest_sessionstart(session: pytest.Session) -> None:
    """Collect where the option asks for it, in the process that sums up."""
    if session.config.getoption("--capabilities-report") and not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_Collector(session.config))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report."""
    target = session.config.getoption("--capabilities-report")
    if target and not hasattr(session.config, "workerinput"):
        Path(target).write_text(json.dumps(session.config.stash[_OUTCOMES], indent=1, sort_keys=True) + "\n")
