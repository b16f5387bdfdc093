"""A command that a test calls in its own process sets up logging for a whole program; the next test finds it as before.

Else lines would go to the output of a test that has ended, and ``caplog`` would hear nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

__all__: list[str] = []

SET_UP = ("isobase", "uvicorn")
"""The loggers that ``isobase_platform.observe.configure_logging`` changes."""


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what was set up meanwhile."""
    loggers = [logging.getLogger(name) for name in SET_UP]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
