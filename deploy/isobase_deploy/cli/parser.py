"""The commands and their flags, and nothing else: ``isobase --help`` imports no server.

``parsed.handler`` names the function to call as ``module:function`` below this package.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from isobase_deploy.cli.parser_gen import add_gen
from isobase_deploy.cli.parser_migrate import add_migrate
from isobase_deploy.cli.parser_storage import add_storage

__all__ = ["build_parser", "parse"]

MAX_WORKERS = 64
SERVICES = ("auth", "database", "storage", "realtime")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="isobase",
        description="A Supabase-compatible backend in one process, on an embedded PostgreSQL or your own.",
    )
    parser.add_argument("--version", action="version", version=f"isobase {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_init(commands)
    _add_start(commands)
    _add_stop(commands)
    _add_status(commands)
    _add_serve(commands)
    _add_db(commands)
    _add_migration(commands)
    _add_keys(commands)
    add_gen(commands, _add_project_flags)
    add_storage(commands, _add_project_flags)
    add_migrate(commands)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The parsed arguments; ends the process with a message where they cannot be parsed."""
    parsed, rest = parser.parse_known_args(arguments)
    # argparse takes an optional place right behind `database` only; PostgREST's file may follow the flags.
    if parsed.command == "serve" and parsed.file is None and len(rest) == 1 and not rest[0].startswith("-"):
        parsed.file = Path(rest.pop())
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return parsed


def _version() -> str:
    from isobase_platform import __version__

    return __version__


def _add_project_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workdir", type=Path, metavar="DIR", help="the project's folder (default: found upwards from here)"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where data is kept (default: .isobase in the project)"
    )


def _add_server_flags(parser: argparse.ArgumentParser) -> None:
    _add_project_flags(parser)
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=_port, metavar="PORT", help="port of the API (default: 54321 or config.toml)")
    parser.add_argument(
        "--db-port", type=_port, metavar="PORT", help="port of the embedded PostgreSQL (default: 54322 or config.toml)"
    )
    parser.add_argument("--database-url", metavar="URL", help="use this PostgreSQL >= 15 instead of the embedded one")
    parser.add_argument("--production", action="store_true", help="refuse the default keys that everybody knows")


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers (1 to {MAX_WORKERS})")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("init", help="make supabase/config.toml, migrations/ and seed.sql here")
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="the folder to make the project in (default: here)")
    parser.add_argument("--force", action="store_true", help="overwrite supabase/config.toml")
    parser.set_defaults(handler="init:run")


def _add_start(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("start", help="bring the whole stack up until Ctrl-C")
    _add_server_flags(parser)
    parser.add_argument("--detach", action="store_true", help="return when it is up and leave it running")
    parser.set_defaults(handler="start:run")


def _add_stop(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("stop", help="stop a running stack in order")
    _add_project_flags(parser)
    parser.add_argument("--no-backup", action="store_true", help="delete the project's data after stopping")
    parser.set_defaults(handler="stop:run")


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("status", help="URLs and keys of the running stack")
    _add_project_flags(parser)
    parser.add_argument(
        "-o", "--output", choices=("pretty", "json", "env"), default="pretty", help="form of the output"
    )
    parser.set_defaults(handler="status:run")


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("serve", help="run one service alone")
    parser.add_argument("-v", "--version", action="version", version=f"isobase {_version()}")
    parser.add_argument("service", choices=SERVICES, help="which one")
    _add_server_flags(parser)
    parser.add_argument_group(
        "serve auth in the place of the GoTrue program",
        "With any GOTRUE_* variable, auth takes GoTrue's settings and serves at the root. Needed are GOTRUE_JWT_SECRET,"
        " GOTRUE_SITE_URL, API_EXTERNAL_URL and DATABASE_URL; --workers counts here too. docs/serve-auth.md lists them all.",
    )
    postgrest = parser.add_argument_group(
        "serve database in the place of the PostgREST program",
        "With one of these, or with any PGRST_* variable, the data API takes PostgREST's settings and serves at the root.",
    )
    postgrest.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="a configuration file of PostgREST's form"
    )
    postgrest.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help="processes that serve (default: 1); serve realtime takes it too, on a database by URL",
    )
    postgrest.add_argument("--dump-config", action="store_true", help="print the configuration in force and end")
    postgrest.add_argument("--dump-schema", action="store_true", help="print the schema cache as JSON and end")
    postgrest.add_argument(
        "-e", "--example", action="store_true", help="print a configuration file with the defaults and end"
    )
    postgrest.add_argument("--ready", action="store_true", help="ask the running server's admin port, print and end")
    parser.set_defaults(handler="serve:run")


def _add_db(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    family = commands.add_parser("db", help="the project's database").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    parser = family.add_parser("reset", help="empty the database, then apply migrations and seed again")
    _add_project_flags(parser)
    parser.add_argument(
        "--db-port", type=_port, metavar="PORT", help="port of the embedded PostgreSQL while no server runs"
    )
    parser.add_argument("--no-seed", action="store_true", help="leave the seed files out")
    parser.set_defaults(handler="db:reset")


def _add_migration(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    family = commands.add_parser("migration", help="the project's migrations").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    parser = family.add_parser("new", help="make an empty migration file")
    parser.add_argument("name", help="what it does, in a word or two")
    parser.add_argument(
        "--workdir", type=Path, metavar="DIR", help="the project's folder (default: found upwards from here)"
    )
    parser.set_defaults(handler="migration:new")
    for name, handler, summary in (
        ("up", "migration:up", "apply what was not applied yet"),
        ("list", "migration:list_all", "local and applied migrations side by side"),
    ):
        parser = family.add_parser(name, help=summary)
        _add_project_flags(parser)
        parser.add_argument("--database-url", metavar="URL", help="a database other than the running stack's")
        parser.set_defaults(handler=handler)


def _add_keys(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    family = commands.add_parser("keys", help="secrets and signing keys").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    parser = family.add_parser(
        "generate", help="print fresh keys for production as NAME=value lines, or make a standby signing key"
    )
    parser.add_argument(
        "--signing-key",
        choices=("RS256", "ES256", "HS256"),
        help="make a signing key: the project's standby key, or with --out a JWK file",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the JWK file for --signing-key; never overwritten")
    _add_key_flags(parser)
    parser.set_defaults(handler="keys:generate")
    parser = family.add_parser("list", help="the project's signing keys and their states")
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="form of the output")
    _add_key_flags(parser)
    parser.set_defaults(handler="keys:list_all")
    parser = family.add_parser("rotate", help="sign with the standby key from now on")
    parser.add_argument("--now", action="store_true", help="although caches of the JWKS may not know the key yet")
    _add_key_flags(parser)
    parser.set_defaults(handler="keys:rotate")
    parser = family.add_parser("revoke", help="believe nothing any more that a key signed")
    parser.add_argument("kid", metavar="KID", help="the key's id, as `keys list` shows it")
    parser.add_argument("--now", action="store_true", help="although tokens that it signed are in use")
    _add_key_flags(parser)
    parser.set_defaults(handler="keys:revoke")


def _add_key_flags(parser: argparse.ArgumentParser) -> None:
    _add_project_flags(parser)
    parser.add_argument("--database-url", metavar="URL", help="a database other than the running stack's")
