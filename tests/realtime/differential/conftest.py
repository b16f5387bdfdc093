"""Both servers for the suite: upstream's, which runs already, and ours, started once.

The suite has a make target of its own (``make test-differential-realtime``): ``make test`` leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest

from tests.plugins.stack import TEMPLATE, DatabaseServer
from tests.realtime.differential.sides import Side, running_isobase, upstream_side
from tests.realtime.differential.tables import TABLES

if upstream_side() is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def sides(postgres: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    """Upstream and Isobase, with the same tables and policies."""
    upstream = upstream_side()
    assert upstream is not None
    postgres.execute(f"create database realtime_ours template {TEMPLATE} owner postgres")
    with running_isobase(postgres.dsn("realtime_ours"), tmp_path_factory.mktemp("realtime")) as ours:
        for side in (upstream, ours):
            connection = psycopg2.connect(side.dsn)
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(TABLES)
            connection.close()
        yield upstream, ours
