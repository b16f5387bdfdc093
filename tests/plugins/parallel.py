"""What the suite needs to run on several processes at once (pytest-xdist)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator

import pytest

LONG_FILES = (
    "tests/adapter/app/test_chaos.py",
    "tests/adapter/app/test_move.py",
    "tests/adapter/bulk/test_copy_command.py",
    "tests/adapter/bulk/test_cutover.py",
    "tests/adapter/bulk/test_sync.py",
    "tests/adapter/host/test_keys_only.py",
    "tests/adapter/planted/test_planted.py",
    "tests/adapter/storage/test_whole_move.py",
    "tests/fault/test_idempotent_writes.py",
    "tests/sdk/faults/_async/test_subscriptions.py",
    "tests/storage/test_crash_steps.py",
)
"""Files with few tests that take long: begun last, one process would end minutes after the others."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Spell lone surrogates in captured logs out: a report travels between processes as UTF-8, which cannot hold them."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Let processes take files in the order that ``pytest_collection_modifyitems`` gives them."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long files first, then those of many tests; files alike stay in their random order, as all do in one process."""
    if not hasattr(config, "workerinput"):
        return
    tests_of = Counter(_file_of(item) for item in items)
    items.sort(key=lambda item: (_file_of(item) not in LONG_FILES, -tests_of[_file_of(item)]))


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
