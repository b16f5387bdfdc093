"""``isobase init``: a folder ``supabase/`` that both command lines understand."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_platform.errors import ConfigurationError

__all__ = ["run"]

# Only what people change; every other key has upstream's default. docs/cli.md lists all that are read.
CONFIG = """\
# Settings of this project, for Isobase and for the Supabase command line alike. A value written as
# env(NAME) is taken from the environment or from a .env file.
project_id = "{project_id}"

[api]
port = 54321
# Schemas whose tables, views and functions get endpoints.
schemas = ["public", "graphql_public"]
extra_search_path = ["public", "extensions"]
# A request returns no more rows than this.
max_rows = 1000

[db]
port = 54322

[db.seed]
enabled = true
# Run once, on a fresh database, after all migrations. Globs are allowed.
sql_paths = ["./seed.sql"]

[storage]
file_size_limit = "50MiB"

# A bucket that is made at start:
# [storage.buckets.avatars]
# public = true
# file_size_limit = "5MiB"
# allowed_mime_types = ["image/png", "image/jpeg"]

[auth]
# Where your web app runs: links in mails lead there.
site_url = "http://127.0.0.1:3000"
additional_redirect_urls = ["https://127.0.0.1:3000"]
# Seconds that an access token is valid.
jwt_expiry = 3600
enable_signup = true
minimum_password_length = 6

[auth.email]
enable_signup = true
enable_confirmations = false
"""
SEED = "-- Runs once on a fresh database, after all migrations, and again after `isobase db reset`.\n"
IGNORED = ".isobase/"


def run(parsed: argparse.Namespace) -> int:
    """Make the folder. An existing config.toml is only overwritten with --force; other files never are."""
    directory = (parsed.workdir or Path.cwd()).absolute()
    config = directory / "supabase" / "config.toml"
    if config.exists() and not parsed.force:
        raise ConfigurationError(f"{config} exists already", hint="isobase init --force overwrites it")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", directory.name).strip("-_.") or "isobase"
    try:
        (config.parent / "migrations").mkdir(parents=True, exist_ok=True)
        config.write_text(CONFIG.format(project_id=name))
        seed = config.parent / "seed.sql"
        if not seed.exists():
            seed.write_text(SEED)
        _ignore_data(directory / ".gitignore")
    except OSError as error:
        raise ConfigurationError(f"cannot write in {directory}: {error.strerror}") from error
    print(f"Made {config}, migrations/ and seed.sql. Next: isobase start")  # noqa: T201  the command's answer
    return ExitCode.OK


def _ignore_data(path: Path) -> None:
    content = path.read_text() if path.exists() else ""
    if IGNORED in (line.strip() for line in content.splitlines()):
        return
    separator = "" if not content or content.endswith("\n") else "\n"
    path.write_text(f"{content}{separator}{IGNORED}\n")
