"""Both servers for the suite: upstream's, which runs already, and ours, started once.

The suite has a make target of its own (``make test-differential-storage``): ``make test`` leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.plugins.stack import TEMPLATE, DatabaseServer
from tests.storage.differential.servers import Side, running_isobase, running_upstream, upstream_address

OURS = {"ISOBASE_STORAGE__S3_PROTOCOL__MIN_PART_SIZE_BYTES": "0"}
"""Upstream keeps bytes on the disk here, and asks no size of parts there."""

if upstream_address() is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def sides(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    """Upstream and Isobase."""
    place = upstream_address()
    assert place is not None
    postgres.execute(f"create database storage_ours template {TEMPLATE} owner postgres")
    folder = tmp_path_factory.mktemp("storage")
    with (
        running_upstream(*place) as upstream,
        running_isobase(postgres.dsn("storage_ours"), OURS, folder) as ours,
    ):
        yield upstream, ours
