"""The two sides for all tests of the adapter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adapter.pair import Pair, Proxies, proxied, real_supabase, running_pair


def pytest_report_header() -> list[str]:
    """Which Supabase the suite uses."""
    given = real_supabase()
    return [f"isobase: Supabase side {given.url if given is not None else 'a second Isobase on its Supabase face'}"]


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """Two running stacks with the sample app's schema, for the whole session."""
    with running_pair() as both:
        yield both


@pytest.fixture
def clean_pair(pair: Pair) -> Pair:
    """The session's two stacks without a row, a user, an object or a trace of a move."""
    pair.clear()
    return pair


@pytest.fixture
def proxied_pair(clean_pair: Pair) -> Iterator[Proxies]:
    """The session's two stacks, cleared, behind proxies that a test breaks."""
    with proxied(clean_pair) as proxies:
        yield proxies


@pytest.fixture
def killable_pair() -> Iterator[Pair]:
    """Two stacks of the test's own, to be killed and started again (``side.process``)."""
    if real_supabase() is not None:
        pytest.skip("a real Supabase is not killed")
    with running_pair() as both:
        yield both


@pytest.fixture
def empty_isobase_pair() -> Iterator[Pair]:
    """Two stacks of the test's own: the Isobase side has no schema yet."""
    with running_pair(has_schema_at_isobase=False) as both:
        yield both
