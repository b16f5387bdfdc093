"""``isobase gen types``: the database's types as a module of TypeScript or Python, on standard output or in a file."""

from __future__ import annotations

import argparse
import asyncio
import sys

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.flags import project_of
from isobase_deploy.cli.status import target_settings
from isobase_deploy.typegen import Rows, python_module, read, typescript_module
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError, Unavailable

__all__ = ["types"]


def types(parsed: argparse.Namespace) -> int:
    """Read the schema of the running project, or of --db-url, and write its types."""
    language = parsed.lang or parsed.language or "typescript"
    if parsed.lang and parsed.language and parsed.lang != parsed.language:
        raise ConfigurationError(f"two languages are asked for: {parsed.language} and {parsed.lang}")
    schemas = [name for given in parsed.schema or () for name in given.split(",") if name]
    url = parsed.db_url
    if url is None:
        settings = target_settings(project_of(parsed))
        url = settings.dsn("postgres") if settings.is_embedded else settings.dsn()
        schemas = schemas or _exposed(settings)
    text = asyncio.run(_text(url, schemas or ["public"], language, parsed.rows))
    if parsed.output is None:
        sys.stdout.write(text)
    else:
        parsed.output.write_text(text, encoding="utf-8")
    return ExitCode.OK


def _exposed(settings: Settings) -> list[str]:
    """The schemas that the project's data API serves, but for GraphQL's, which holds no table."""
    return [schema for schema in settings.rest.schemas if schema != "graphql_public"]


async def _text(url: str, schemas: list[str], language: str, rows: Rows) -> str:
    import asyncpg

    try:
        catalogue = await read(url, schemas)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise Unavailable(f"cannot read the database: {str(error) or type(error).__name__}") from error
    if language == "python":
        return python_module(catalogue, rows)
    return typescript_module(catalogue)
