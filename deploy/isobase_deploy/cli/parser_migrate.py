"""The flags of ``isobase migrate``: what every subcommand takes, and the list of the subcommands.

A subcommand is a function ``add(family)`` in a module ``parser_migrate_<name>.py`` (light: no server is imported for
``--help``), named in ``PARTS``; its work is in ``migrate_<name>.py``. ``subcommand`` gives it the common flags.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

__all__ = ["PARTS", "add_control_file", "add_migrate", "number", "subcommand"]

PARTS: tuple[str, ...] = (
    "parser_migrate_flags",
    "parser_migrate_copy",
    "parser_migrate_outbox",
    "parser_migrate_verify",
    "parser_migrate_cutover",
)
"""Modules beside this one, each with an ``add``; in the order of a move, which is the order of ``--help``."""

if TYPE_CHECKING:
    Family = argparse._SubParsersAction[argparse.ArgumentParser]


def add_migrate(commands: Family) -> None:
    """Add the family to the command line."""
    parser = commands.add_parser(
        "migrate",
        help="move an app from Supabase, step by step",
        description="Moves an app from Supabase to Isobase. Where the two sides are is said by flags, by variables"
        " (SUPABASE_DB_URL, ISOBASE_DB_URL, ...) or by isobase-migration.toml; docs/migration.md is the runbook.",
    )
    family = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for part in PARTS:
        import_module(f"isobase_deploy.cli.{part}").add(family)


def subcommand(
    family: Family, name: str, *, handler: str, help_text: str, description: str = ""
) -> argparse.ArgumentParser:
    """Give a subcommand's parser with the flags that all of them have.

    handler: ``module:function`` below this package, called with what was parsed.
    """
    parser = family.add_parser(name, help=help_text, description=description or help_text)
    add_common_flags(parser)
    parser.set_defaults(handler=handler)
    return parser


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add where the sides are, and the form of the output."""
    sides = parser.add_argument_group(
        "the two sides",
        "Better in variables of the same names than here: other users of this machine see a command line.",
    )
    for side, name in (("supabase", "the Supabase project"), ("isobase", "Isobase")):
        sides.add_argument(f"--{side}-url", metavar="URL", help=f"the API of {name}")
        sides.add_argument(f"--{side}-db-url", metavar="URL", help=f"the database of {name}, as its role postgres")
        sides.add_argument(
            f"--{side}-service-role-key", metavar="KEY", help=f"the service-role or secret key of {name}"
        )
    sides.add_argument(
        "--config", type=Path, metavar="FILE", help="where the same is written (default: isobase-migration.toml here)"
    )
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="form of the output")


def add_control_file(parser: argparse.ArgumentParser) -> None:
    """Add where the control store is, for those who have no PostgreSQL for it."""
    parser.add_argument(
        "--control-file",
        type=Path,
        metavar="FILE",
        help="flags and outbox of one host in this SQLite file (ISOBASE_MIGRATION_CONTROL_FILE of its clients), instead"
        " of Isobase's database",
    )


def number(lowest: int, highest: int) -> Callable[[str], int]:
    """Give what parses a whole number within bounds."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest} to {highest}")
        return int(text)

    return parse
