"""Both servers for the suite, started once for each configuration.

The suite has a make target of its own (``make test-differential-auth``): ``make test`` leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.auth.differential.configurations import CONFIGURATIONS
from tests.auth.differential.mails import MailServer, running_mail_server
from tests.auth.differential.servers import Side, gotrue_binary, ours_command, running_side, upstream_database
from tests.plugins.stack import TEMPLATE, DatabaseServer

if gotrue_binary() is None:
    collect_ignore_glob = ["test_*.py"]

UPSTREAM = "upstream"
OURS = "ours"


@dataclass(slots=True)
class Pairs:
    """Pairs of servers by configuration; each is started when it is asked for first and kept to the end."""

    postgres: DatabaseServer
    binary: Path
    folder: Path
    mails: MailServer
    upstream_dsn: str
    stack: ExitStack
    started: dict[str, tuple[Side, Side]] = field(default_factory=dict)

    def of(self, configuration: str) -> tuple[Side, Side]:
        """GoTrue and Isobase with a configuration."""
        if configuration not in self.started:
            self.started[configuration] = self._start(configuration)
        return self.started[configuration]

    def _start(self, configuration: str) -> tuple[Side, Side]:
        folder = self.folder / configuration
        folder.mkdir()
        environment = CONFIGURATIONS[configuration]
        upstream = self.stack.enter_context(
            running_side(
                UPSTREAM,
                [str(self.binary)],
                self.upstream_dsn,
                self.postgres.dsn("gotrue_upstream"),
                {**environment, **self.mails.variables(UPSTREAM), "GOTRUE_DB_AUTOMIGRATE": "false"},
                folder,
            )
        )
        name = f"gotrue_ours_{configuration}"
        self.postgres.execute(f"create database {name} template {TEMPLATE} owner postgres")
        dsn = self.postgres.dsn(name)
        ours = self.stack.enter_context(
            running_side(
                OURS,
                ours_command(),
                dsn,
                dsn,
                {
                    **environment,
                    **self.mails.variables(OURS),
                    "ISOBASE_AUTH__BCRYPT_COST": "4",
                },
                folder,
            )
        )
        return upstream, ours


@pytest.fixture(scope="session")
def pairs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    """Both servers by configuration."""
    binary = gotrue_binary()
    assert binary is not None
    postgres: DatabaseServer = request.getfixturevalue("postgres")
    folder = tmp_path_factory.mktemp("gotrue")
    with ExitStack() as stack:
        mails = stack.enter_context(running_mail_server(UPSTREAM, OURS))
        dsn = upstream_database(postgres, binary, folder)
        yield Pairs(postgres, binary, folder, mails, dsn, stack)
