"""The flags of ``isobase migrate plan``, ``copy`` and ``sync``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from isobase_deploy.cli.parser_migrate import number, subcommand

if TYPE_CHECKING:
    from isobase_deploy.cli.parser_migrate import Family

__all__ = ["add"]

MAX_PARALLEL = 64
STEPS = ("schema", "users", "rows", "objects")


def add(family: Family) -> None:
    """Add the commands."""
    parser = subcommand(
        family,
        "plan",
        handler="migrate_copy:plan",
        help_text="look at both sides: what will move, what not, and what to do; changes nothing",
        description="Reads both databases and says of everything that a project has whether it moves, with which remark,"
        " and what to do; measures how fast rows go, and estimates the time of a copy. docs/migration/plan.md.",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="also write the report there: .html a page, else JSON"
    )
    parser = subcommand(
        family,
        "copy",
        handler="migrate_copy:copy",
        help_text="copy schema, users, rows and objects to Isobase, while the app runs",
        description="Copies a project to Isobase while the app goes on with Supabase. It can be ended at any time and"
        " called again: what is done stays done. docs/migration/copy.md tells what it does.",
    )
    parser.add_argument(
        "--step", dest="steps", action="append", choices=STEPS, default=[], help="copy this alone; repeat it for more"
    )
    parser.add_argument(
        "--table",
        dest="tables",
        action="append",
        default=[],
        metavar="SCHEMA.TABLE",
        help="copy rows of this table alone",
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="SCHEMA.TABLE", help="leave the rows of this table out"
    )
    parser.add_argument(
        "--parallel", type=number(1, MAX_PARALLEL), default=4, metavar="N", help="ranges at a time (default: 4)"
    )
    parser.add_argument(
        "--rows-by",
        choices=("copy", "replication"),
        default="copy",
        help="COPY through this machine (default), or a subscription of Isobase's server",
    )
    _add_method(parser)
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="also write the report there: .html a page, else JSON"
    )
    parser = subcommand(
        family,
        "sync",
        handler="migrate_copy:sync",
        help_text="keep both sides equal until cutover, until Ctrl-C",
        description="Carries every change of the side that is written first to the other one, whoever made it, until"
        " Ctrl-C or SIGTERM. Killed anywhere it goes on where it was. docs/migration/sync.md tells how.",
    )
    _add_method(parser)
    parser.add_argument("--once", action="store_true", help="end when everything that is waiting was carried")
    parser.add_argument(
        "--stop-capture", action="store_true", help="take slots and publications away from both sides, and end"
    )


def _add_method(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method",
        choices=("log", "polling"),
        default="log",
        help="find changes in the databases' logs (default), or by comparing where no slot is allowed",
    )
