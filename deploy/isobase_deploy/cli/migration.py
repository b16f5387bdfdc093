"""``isobase migration new | up | list``."""

from __future__ import annotations

import argparse
import asyncio
import re
from datetime import UTC, datetime

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.flags import project_of
from isobase_deploy.cli.output import Output
from isobase_deploy.cli.status import target_settings
from isobase_deploy.database import unreachable
from isobase_deploy.migrations import migrate
from isobase_deploy.migrations.files import list_migrations
from isobase_deploy.migrations.history import applied_versions
from isobase_deploy.migrations.project import connect_as_migrator
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError, Unavailable

__all__ = ["list_all", "new", "up"]

VERSION_FORMAT = "%Y%m%d%H%M%S"


def new(parsed: argparse.Namespace) -> int:
    """Make an empty migration with the time as its version; refuses a name that would not be found again."""
    project = project_of(parsed)
    name = re.sub(r"\W+", "_", parsed.name).strip("_")
    if not name:
        raise ConfigurationError(f"{parsed.name!r} holds no letter or digit to name a migration by")
    path = project.migrations_dir / f"{datetime.now(UTC).strftime(VERSION_FORMAT)}_{name}.sql"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x"):
            pass
    except FileExistsError as error:
        raise ConfigurationError(f"{path} exists already") from error
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    print(f"Created new migration at {path}")  # noqa: T201  the command's answer
    return ExitCode.OK


def up(parsed: argparse.Namespace) -> int:
    """Apply what was not applied yet to the running stack, or to --database-url."""
    project = project_of(parsed)
    settings = target_settings(project)
    with Output() as output:
        try:
            done = asyncio.run(migrate(project, settings, output)).migrations
        except Unavailable as error:
            raise unreachable(settings, error) from error
    print(f"Applied {len(done)} migration(s)." if done else "Nothing to apply.")  # noqa: T201
    return ExitCode.OK


def list_all(parsed: argparse.Namespace) -> int:
    """Local and applied versions side by side."""
    project = project_of(parsed)
    settings = target_settings(project)
    files, warnings = list_migrations(project.migrations_dir)
    with Output() as output:
        for warning in warnings:
            output.warn(warning)
        try:
            applied = set(asyncio.run(_applied(settings, output)))
        except Unavailable as error:
            raise unreachable(settings, error) from error
    local = {file.version: file for file in files}
    print(f"{'LOCAL':<16}{'APPLIED':<16}{'TIME (UTC)':<21}NAME")  # noqa: T201
    for version in sorted(applied | local.keys()):
        here = version if version in local else ""
        there = version if version in applied else ""
        name = local[version].name if version in local else ""
        print(f"{here:<16}{there:<16}{_time_of(version):<21}{name}".rstrip())  # noqa: T201
    return ExitCode.OK


async def _applied(settings: Settings, output: Output) -> list[str]:
    async with connect_as_migrator(settings, output) as connection:
        return await applied_versions(connection)


def _time_of(version: str) -> str:
    """The version as a time where it is one."""
    try:
        return datetime.strptime(version, VERSION_FORMAT).replace(tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return ""
