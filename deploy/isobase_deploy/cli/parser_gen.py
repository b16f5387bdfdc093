"""The flags of ``isobase gen``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["add_gen"]

LANGUAGES = ("typescript", "python")


def add_gen(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    add_project_flags: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add ``gen types``; the names of its flags are those of Supabase's command line."""
    family = commands.add_parser("gen", help="code written from the database").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    parser = family.add_parser("types", help="types of tables, views, functions and enums")
    parser.add_argument("language", nargs="?", choices=LANGUAGES, help="the same as --lang")
    parser.add_argument("--lang", choices=LANGUAGES, help="language to write (default: typescript)")
    parser.add_argument("--local", action="store_true", help="the running project's database (the default)")
    parser.add_argument("--db-url", metavar="URL", help="another database")
    parser.add_argument(
        "-s", "--schema", action="append", metavar="NAMES", help="schemas, joined by commas (default: those of the API)"
    )
    parser.add_argument(
        "--rows",
        choices=("pydantic", "typeddict", "dataclass"),
        default="pydantic",
        help="what a row is in Python (default: pydantic)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the file to write (default: standard output)"
    )
    add_project_flags(parser)
    parser.set_defaults(handler="gen:types")
