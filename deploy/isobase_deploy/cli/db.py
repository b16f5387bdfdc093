"""``isobase db reset``."""

from __future__ import annotations

import argparse
import asyncio

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.flags import project_of
from isobase_deploy.cli.output import Output
from isobase_deploy.cli.status import NotRunningError, settings_of_running
from isobase_deploy.database import ProjectDatabase
from isobase_deploy.datadir import DataDir
from isobase_deploy.migrations import Outcome
from isobase_deploy.project import Project
from isobase_deploy.reset import reset_database
from isobase_platform.config import Settings

__all__ = ["reset"]


def reset(parsed: argparse.Namespace) -> int:
    """Empty the database and apply migrations and seed again, on the running stack or with PostgreSQL alone."""
    project = project_of(parsed)
    data_dir = DataDir(project.settings.data_dir)
    with Output() as output:
        for warning in project.warnings:
            output.warn(warning)
        if project.settings.is_embedded and not data_dir.is_locked():
            outcome = _reset_stopped(project, data_dir, output, with_seed=not parsed.no_seed)
        else:
            state = data_dir.running()
            if project.settings.is_embedded and state is None:
                raise NotRunningError(data_dir)
            settings = settings_of_running(project.settings, state) if state is not None else project.settings
            outcome = _reset(project, settings, output, with_seed=not parsed.no_seed)
    print(  # noqa: T201  the command's answer
        f"Database reset: {len(outcome.migrations)} migration(s), {len(outcome.seeds)} seed file(s)."
    )
    return ExitCode.OK


def _reset_stopped(project: Project, data_dir: DataDir, output: Output, *, with_seed: bool) -> Outcome:
    data_dir.lock()
    try:
        database = ProjectDatabase(project)
        output.step("Starting PostgreSQL")
        database.start()
        try:
            return _reset(project, database.settings, output, with_seed=with_seed)
        finally:
            database.stop()
    finally:
        data_dir.unlock()


def _reset(project: Project, settings: Settings, output: Output, *, with_seed: bool) -> Outcome:
    if not with_seed:
        without = settings.database.model_copy(update={"seed_enabled": False})
        settings = settings.model_copy(update={"database": without})
    return asyncio.run(reset_database(project, settings, output))
