"""The project that a command works on: its folder, its config.toml, its settings.

A project is a folder that holds ``supabase/config.toml``; it is looked for upwards from where the command was called, as the
Supabase command line does. Without one, the current folder is a project without migrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from isobase_platform.config import Settings, load_settings
from isobase_platform.config_toml import read_config_toml
from isobase_platform.errors import ConfigurationError

__all__ = ["DATA_DIR_NAME", "Project", "find_project_dir", "load_project"]

DATA_DIR_NAME = ".isobase"
CONFIG_PATH = Path("supabase") / "config.toml"


@dataclass(slots=True, frozen=True)
class Project:
    """One project. ``settings.data_dir`` is absolute; ``warnings`` are what config.toml says without effect."""

    directory: Path
    settings: Settings
    warnings: tuple[str, ...]

    @property
    def supabase_dir(self) -> Path:
        """The folder of migrations, seed files and config.toml."""
        return self.directory / "supabase"

    @property
    def migrations_dir(self) -> Path:
        """The folder of migrations."""
        return self.supabase_dir / "migrations"


def find_project_dir(start: Path) -> Path:
    """The nearest folder from ``start`` upwards that holds ``supabase/config.toml``, else ``start`` itself."""
    absolute = start.absolute()
    for folder in (absolute, *absolute.parents):
        if (folder / CONFIG_PATH).is_file():
            return folder
    return absolute


def load_project(workdir: Path | None, flags: Mapping[str, object]) -> Project:
    """Find the project and build its settings: flags over environment over config.toml over defaults.

    ``workdir``: ``--workdir``, which must exist; None looks upwards from the current folder. ``flags``: nested mapping by
    the names of ``Settings``, None for "not given". Raises ``ConfigurationError`` for what cannot be read or served.
    """
    if workdir is not None:
        if not workdir.is_dir():
            raise ConfigurationError(f"--workdir {workdir} is not a folder")
        directory = workdir.absolute()
    else:
        try:
            current = Path.cwd()
        except FileNotFoundError as error:
            raise ConfigurationError("the current folder does not exist any more", hint="cd to another one") from error
        directory = find_project_dir(current)
    file = read_config_toml(directory / CONFIG_PATH)
    # A name for a project whose file gives none, as upstream names it.
    below = {"project_id": directory.name or "isobase", "data_dir": directory / DATA_DIR_NAME, **file.values}
    settings = load_settings(flags=dict(flags), file_values=below)
    # A relative directory in a flag or variable is meant from where the command was called.
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    return Project(directory, settings, file.warnings)
