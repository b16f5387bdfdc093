"""``isobase status``: URLs and keys of the running stack, for people, for scripts and for ``.env`` files."""

from __future__ import annotations

import argparse
import json

from pydantic import SecretStr

from isobase_deploy.addresses import addresses
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.flags import project_of
from isobase_deploy.datadir import DataDir, RunState
from isobase_deploy.project import Project
from isobase_platform.config import Settings
from isobase_platform.errors import IsobaseError

__all__ = ["NotRunningError", "print_pretty", "run", "settings_of_running", "target_settings"]


class NotRunningError(IsobaseError):
    """A command needs a running stack."""

    default_code = "not_running"

    def __init__(self, data_dir: DataDir) -> None:
        if data_dir.is_locked():
            super().__init__(f"isobase on {data_dir.path} is starting or ending; try again in a moment")
        else:
            super().__init__(f"isobase does not run on {data_dir.path}", hint="bring it up with: isobase start")


def settings_of_running(settings: Settings, state: RunState) -> Settings:
    """The settings with the places where the running stack really is: it may have been started with flags."""
    database = settings.database.model_copy(
        update={"url": SecretStr(state.db_url)} if state.db_port is None else {"port": state.db_port, "url": None}
    )
    return settings.model_copy(
        update={
            "port": state.port,
            "public_url": state.api_url,
            "database": database,
            "env": "production" if state.is_production else "local",
            "mail_port": state.mail_port or settings.mail_port,
        }
    )


def target_settings(project: Project) -> Settings:
    """The settings to reach a project's database with: the running stack's, or those of the database by URL.

    Raises ``NotRunningError`` where the embedded server should run and does not.
    """
    if not project.settings.is_embedded:
        return project.settings
    data_dir = DataDir(project.settings.data_dir)
    state = data_dir.running()
    if state is None:
        raise NotRunningError(data_dir)
    return settings_of_running(project.settings, state)


def run(parsed: argparse.Namespace) -> int:
    """Print where the stack is. Exit code 8 when it does not run."""
    project = project_of(parsed)
    data_dir = DataDir(project.settings.data_dir)
    state = data_dir.running()
    if state is None:
        raise NotRunningError(data_dir)
    settings = settings_of_running(project.settings, state)
    values = addresses(settings)
    if parsed.output == "json":
        print(json.dumps(values, indent=2))  # noqa: T201  the command's answer
    elif parsed.output == "env":
        for name, value in values.items():
            print(f"{name}={json.dumps(value, ensure_ascii=False)}")  # noqa: T201
    else:
        print_pretty(settings, ())
    return ExitCode.OK


def print_pretty(settings: Settings, names: tuple[str, ...]) -> None:
    """URLs and keys for a person; what does not run is left out. ``names``: the services, when not all of them run."""
    values = addresses(settings)
    rows = [("API URL", values["API_URL"]), ("API docs", f"{settings.base_url}/docs")]
    if not settings.is_production and settings.mailbox.enabled:
        rows.append(("Mailpit URL", values["MAILPIT_URL"]))
    if names:
        rows.append(("Services", ", ".join(names)))
    # What start prints ends in logs; production's keys do not belong there.
    if not (names and settings.is_production):
        rows += [
            ("Database URL", values["DB_URL"]),
            ("Publishable key", values["PUBLISHABLE_KEY"]),
            ("Secret key", values["SECRET_KEY"]),
            ("anon key", values["ANON_KEY"]),
            ("service_role key", values["SERVICE_ROLE_KEY"]),
            ("JWT secret", values["JWT_SECRET"]),
            ("S3 Access Key", values["S3_PROTOCOL_ACCESS_KEY_ID"]),
            ("S3 Secret Key", values["S3_PROTOCOL_ACCESS_KEY_SECRET"]),
        ]
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:>{width}}: {value}" for name, value in rows), flush=True)  # noqa: T201
