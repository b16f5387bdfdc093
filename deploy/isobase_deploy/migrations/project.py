"""What a project's folder asks of its database, in upstream's order: roles.sql, migrations, seed files.

Migrations run when they were not applied yet; roles.sql and the seed only on a fresh database (and after ``db reset``).
Everything is idempotent: called again after a failure it goes on where it stopped. Source: supabase/cli
``internal/db/start`` (SetupLocalDatabase), ``internal/migration/apply``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, Protocol, TypeVar

import asyncpg

from isobase_deploy.migrations import history
from isobase_deploy.migrations.apply import run_script
from isobase_deploy.migrations.files import MigrationFile, list_migrations, list_seed_files, read_sql
from isobase_deploy.migrations.split import Statement, split_statements
from isobase_deploy.project import Project
from isobase_platform.config import Settings
from isobase_platform.errors import database_error
from isobase_platform.pool import DATABASE_FAILURES, Connection

__all__ = ["Outcome", "Report", "connect_as_migrator", "migrate", "pending_migrations", "set_up"]

CONNECT_TIMEOUT_S = 10.0
LOCK_KEY = 0x15_0B_A5_E1
"""Session advisory lock: two processes that start on one external database migrate one after the other."""

DEFAULT_SEED_PATHS = ("./seed.sql",)

_Result = TypeVar("_Result")

# Upstream runs the same three when new entities shall not be exposed; source: supabase/cli internal/db/start.
_HIDE_NEW_TABLES = """
alter default privileges for role postgres in schema public
  revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke execute on functions from anon, authenticated, service_role;
"""


class Report(Protocol):
    """Where progress and warnings go."""

    def step(self, text: str) -> None:
        """Something begins."""
        ...

    def warn(self, text: str) -> None:
        """Something the user should know."""
        ...


@dataclass(slots=True, frozen=True)
class Outcome:
    """What was done: versions of the migrations applied, paths of the seed files run."""

    migrations: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()


async def set_up(project: Project, settings: Settings, report: Report, *, with_seed: bool) -> Outcome:
    """Bring the database to what the project's folder says.

    ``with_seed``: also run roles.sql and the seed files where this database never had them. Raises ``ScriptError`` for a
    statement that fails (files before it stay applied, nothing of its own file does), ``ConfigurationError`` for files that
    cannot be read, ``Unavailable`` for a lost database.
    """
    async with connect_as_migrator(settings, report) as connection:
        is_seeded = await _mapped(history.has_been_seeded(connection))
        if with_seed and not is_seeded and not await _mapped(history.applied_versions(connection)):
            await _prepare_fresh(connection, project, settings, report)
        done = await _migrate(connection, project, settings, report) if settings.database.migrations_enabled else ()
        seeds = await _seed(connection, project, settings, report) if with_seed and not is_seeded else ()
    if done or seeds:
        await _open_to_service_role(settings)
    return Outcome(done, seeds)


async def migrate(project: Project, settings: Settings, report: Report) -> Outcome:
    """Apply the migrations that were not applied yet; errors as ``set_up``."""
    async with connect_as_migrator(settings, report) as connection:
        done = await _migrate(connection, project, settings, report)
    if done:
        await _open_to_service_role(settings)
    return Outcome(done)


@asynccontextmanager
async def connect_as_migrator(settings: Settings, report: Report) -> AsyncIterator[Connection]:
    """A connection for the project's SQL: role ``postgres`` on the embedded server, the owner's URL on any other.

    It holds the migration lock, and tells ``report`` what SQL raises as a warning.
    """
    dsn = settings.dsn("postgres") if settings.is_embedded else settings.dsn()
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            statement_cache_size=0,
            server_settings={"application_name": "isobase migrations"},
        )
    except DATABASE_FAILURES as error:
        raise database_error(error) from error

    def tell(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "WARNING":
            report.warn(str(message.message))

    connection.add_log_listener(tell)
    try:
        # A session's lock does not survive a transaction pooler; there, one process at a time is up to the operator.
        if settings.database.mode == "direct":
            await _mapped(connection.execute(f"select pg_advisory_lock({LOCK_KEY})"))
        yield connection
    finally:
        connection.remove_log_listener(tell)
        await connection.close(timeout=CONNECT_TIMEOUT_S)


async def pending_migrations(connection: Connection, project: Project, report: Report) -> list[MigrationFile]:
    """The project's migrations that were not applied, in order; what looks wrong about the two lists is reported."""
    files, warnings = list_migrations(project.migrations_dir)
    for warning in warnings:
        report.warn(warning)
    applied = await _mapped(history.applied_versions(connection))
    known = {file.version for file in files}
    missing = [version for version in applied if version not in known]
    if missing:
        report.warn(f"applied to the database, but not in {project.migrations_dir}: {', '.join(missing)}")
    pending = [file for file in files if file.version not in set(applied)]
    late = [file.path.name for file in pending if applied and file.version < applied[-1]]
    if late:
        report.warn(f"older than the newest applied migration, and applied now: {', '.join(late)}")
    return pending


async def _migrate(connection: Connection, project: Project, settings: Settings, report: Report) -> tuple[str, ...]:
    pending = await pending_migrations(connection, project, report)
    if not pending:
        return ()
    await _mapped(history.make_tables(connection))
    done: list[str] = []
    gaps = await _extension_gaps(settings)
    for file in pending:
        report.step(f"Applying migration {file.path.name}")
        sql = read_sql(file.path)

        async def record(on: Connection, statements: Sequence[Statement], file: MigrationFile = file) -> None:
            await history.record_migration(on, file, statements)

        await run_script(connection, file.path, sql, record=record, notice=report.warn)
        if gaps:
            _report_gaps(file.path, split_statements(sql), gaps, report)
        done.append(file.version)
    return tuple(done)


async def _prepare_fresh(connection: Connection, project: Project, settings: Settings, report: Report) -> None:
    if settings.rest.auto_expose_new_tables is False:
        await _mapped(connection.execute(_HIDE_NEW_TABLES))
    roles = project.supabase_dir / "roles.sql"
    if roles.is_file():
        report.step("Applying roles.sql")
        await run_script(connection, roles, read_sql(roles), record=None, notice=report.warn)


async def _seed(connection: Connection, project: Project, settings: Settings, report: Report) -> tuple[str, ...]:
    """Each seed file in a transaction of its own with its row; the mark at the end says that none is left."""
    paths: list[Path] = []
    if settings.database.seed_enabled:
        paths, warnings = list_seed_files(project.supabase_dir, settings.database.seed_paths)
        # A project without a seed file is an ordinary one while nothing but the default asks for it.
        if settings.database.seed_paths != DEFAULT_SEED_PATHS:
            for warning in warnings:
                report.warn(warning)
    await _mapped(history.make_tables(connection))
    already = await _mapped(history.seeded_files(connection))
    done: list[str] = []
    for path in paths:
        name = _shown(path, project)
        if name in already:
            continue
        report.step(f"Seeding data from {name}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()

        async def record(on: Connection, _: Sequence[Statement], name: str = name, digest: str = digest) -> None:
            await history.record_seed(on, name, digest)

        await run_script(connection, path, read_sql(path), record=record, notice=report.warn)
        done.append(name)
    await _mapped(history.mark_seeded(connection))
    return tuple(done)


def _shown(path: Path, project: Project) -> str:
    """The path as upstream records it: relative to the project's folder."""
    return str(path.relative_to(project.directory)) if path.is_relative_to(project.directory) else str(path)


async def _extension_gaps(settings: Settings) -> dict[str, str]:
    """What the stand-ins of the embedded server lack, by extension; any other server has the real ones."""
    if not settings.is_embedded:
        return {}
    # The owner's schema: role postgres may not look into it.
    rows = await _as_owner(settings, "select extension, missing from isobase.extension_gaps()")
    return {row["extension"]: row["missing"] for row in rows}


def _report_gaps(path: Path, statements: Sequence[Statement], gaps: Mapping[str, str], report: Report) -> None:
    for statement in statements:
        if statement.words[:2] != ("create", "extension"):
            continue
        named = next((name for name in gaps if re.search(rf"\b{re.escape(name)}\b", statement.text)), None)
        if named is not None:
            report.warn(
                f"{path.name}: {named} is a stand-in written in SQL on the embedded server; missing: {gaps[named]}"
            )


async def _open_to_service_role(settings: Settings) -> None:
    """Where the server gives no BYPASSRLS, new tables need a policy for service_role; elsewhere this does nothing."""
    await _as_owner(settings, "select isobase.open_tables_to_service_role()")


async def _as_owner(settings: Settings, sql: LiteralString) -> list[asyncpg.Record]:
    try:
        connection = await asyncpg.connect(settings.dsn(), timeout=CONNECT_TIMEOUT_S, statement_cache_size=0)
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)
    except DATABASE_FAILURES as error:
        raise database_error(error) from error


async def _mapped(work: Awaitable[_Result]) -> _Result:
    try:
        return await work
    except DATABASE_FAILURES as error:
        raise database_error(error) from error
