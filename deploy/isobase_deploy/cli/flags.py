"""Parsed flags -> the nested mapping that settings are built from, and the project of a command."""

from __future__ import annotations

import argparse

from isobase_deploy.project import Project, load_project

__all__ = ["project_of"]


def project_of(parsed: argparse.Namespace) -> Project:
    """The project that a command works on, with its flags above all other sources. Raises ``ConfigurationError``."""
    given = vars(parsed)
    flags: dict[str, object] = {
        "host": given.get("host"),
        "port": given.get("port"),
        "data_dir": given.get("data_dir"),
        "env": "production" if given.get("production") else None,
        "database": {"port": given.get("db_port"), "url": given.get("database_url")},
    }
    return load_project(given.get("workdir"), flags)
