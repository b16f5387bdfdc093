"""The database of a project, ready to be served: the embedded server or one by URL, with schema, migrations and seed.

``ProjectDatabase`` holds the embedded server's life; ``prepare`` is the order in which a database becomes ready, the same
for ``start`` and ``db reset``.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

import asyncpg

from isobase_deploy.embedded import EmbeddedPostgres
from isobase_deploy.migrations import Outcome, Report, set_up
from isobase_deploy.passwords import ensure_role_passwords
from isobase_deploy.ports import free_ports
from isobase_deploy.project import Project
from isobase_platform.config import Settings
from isobase_platform.errors import IsobaseError, Unavailable, database_error
from isobase_platform.pool import DATABASE_FAILURES
from isobase_platform.schema import apply_schema

__all__ = ["ProjectDatabase", "hide_new_stand_ins", "prepare", "unreachable", "watch"]

_HAS_STAND_INS = "select exists (select from auth.users where encrypted_password like '$isobase$v1$%')"

_log = logging.getLogger("isobase.database")


class ProjectDatabase:
    """Starts what has to be started for ``project``'s database; ``settings`` are then those to connect with.

    The caller holds the lock of the data directory, and calls ``start`` on the thread that lives as long as the process.
    """

    def __init__(self, project: Project) -> None:
        self.settings = project.settings
        self._embedded: EmbeddedPostgres | None = None

    def start(self) -> None:
        """Start the embedded server, or nothing where a URL is given. Errors as ``EmbeddedPostgres.start``."""
        if not self.settings.is_embedded:
            return
        port = self.settings.database.port or free_ports(1)[0]
        self._embedded = EmbeddedPostgres(
            self.settings.data_dir,
            port=port,
            password=self.settings.role_password("supabase_admin"),
            parameters=self.settings.database.parameters,
        )
        self._embedded.start()
        place = {"port": port, "socket_dir": self._embedded.socket_dir}
        self.settings = self.settings.model_copy(update={"database": self.settings.database.model_copy(update=place)})

    def stop(self) -> None:
        """Stop the embedded server in order."""
        if self._embedded is not None:
            self._embedded.stop()

    @property
    def has_ended(self) -> bool:
        """True when the embedded server should run and does not (it was killed)."""
        return self._embedded is not None and self._embedded.pid is None

    def restart(self) -> None:
        """Start the embedded server again after it ended by itself: PostgreSQL recovers what was committed."""
        assert self._embedded is not None
        self._embedded.stop()
        self._embedded.start()


async def prepare(project: Project, settings: Settings, report: Report) -> Outcome:
    """Make a running database ready: schema, role passwords, then the project's own files.

    Seed files and roles.sql run on the embedded server only, and only once: a database by URL is somebody's own. Raises
    ``Unavailable`` with the place in its message, ``ConfigurationError``, ``DatabaseError`` and ``ScriptError``.
    """
    try:
        await apply_schema(settings)
    except Unavailable as error:
        raise unreachable(settings, error) from error
    if settings.is_embedded:
        await ensure_role_passwords(settings)
    else:
        await _check_external(settings, report)
    return await set_up(project, settings, report, with_seed=settings.is_embedded)


async def hide_new_stand_ins(settings: Settings) -> int:
    """Put bcrypt over the stand-in password hashes that SQL wrote on the embedded server; returns how many.

    Done beside serving, because each costs a quarter of a second: sign-in knows both forms. See decision 0005.
    """
    connection = await asyncpg.connect(settings.dsn("supabase_auth_admin"))
    try:
        if not await connection.fetchval(_HAS_STAND_INS):
            return 0
        # Late, because it brings auth's imports with it, and memory counts where auth is off.
        from isobase_services.auth.passwords import rehash_stand_ins

        return await rehash_stand_ins(connection, cost=settings.auth.bcrypt_cost)
    finally:
        await connection.close(timeout=5.0)


def unreachable(settings: Settings, error: Unavailable) -> IsobaseError:
    """``error`` with the place of a database by URL in its message; any other database's as it is."""
    if settings.database.url is None:
        return error
    parts = urlsplit(settings.database.url.get_secret_value())
    cause = error.details or (str(error.__cause__) if error.__cause__ is not None else "")
    return Unavailable(
        f"the database at {parts.hostname or 'the local socket'}:{parts.port or 5432} cannot be reached: {cause}",
        code="database_unreachable",
        hint="check --database-url or DATABASE_URL, and that the server takes connections from here",
    )


async def _check_external(settings: Settings, report: Report) -> None:
    """Say what a database by URL cannot give."""
    try:
        connection = await asyncpg.connect(settings.dsn(), statement_cache_size=0)
        try:
            level = await connection.fetchval("show wal_level")
        finally:
            await connection.close()
    except DATABASE_FAILURES as error:
        raise database_error(error) from error
    if level != "logical":
        report.warn(f"wal_level of the database is {level}, not logical: row changes are not sent over realtime")


async def watch(database: ProjectDatabase, poll_s: float = 0.5) -> None:
    """Bring the embedded server back whenever it ended by itself, until cancelled; raises what keeps it from starting.

    Runs on the event loop and not in a thread on purpose: the kernel ties the child's life to the thread that made it.
    """
    while True:
        await asyncio.sleep(poll_s)
        if database.has_ended:
            _log.error("PostgreSQL ended by itself, starting it again")
            database.restart()
            _log.warning("PostgreSQL runs again")
