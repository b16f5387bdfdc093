"""The flags of ``isobase migrate cutover`` and ``isobase migrate rollback``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from isobase_deploy.cli.parser_migrate import add_control_file, number, subcommand
from isobase_deploy.cli.parser_migrate_verify import DEPTHS

if TYPE_CHECKING:
    from isobase_deploy.cli.parser_migrate import Family

__all__ = ["add"]

MAX_CALLS = 10**9
MAX_HOURS = 24 * 14


def add(family: Family) -> None:
    """Add the two commands."""
    parser = subcommand(
        family,
        "cutover",
        handler="migrate_cutover:cutover",
        help_text="check the gates, then let Isobase be read by everybody and written first",
        description="Looks at the gates (stage, clients, outbox, mismatches, sync, definitions, equality), shows each with"
        " what was found, and refuses where one is not met. Then everybody reads from Isobase (live), the writer is handed"
        " over while writes wait a moment, and sequences are moved. docs/migration/cutover.md tells the rest.",
    )
    _add_common(parser)
    parser.add_argument(
        "--calls",
        type=number(0, MAX_CALLS),
        default=1000,
        metavar="N",
        help="compared reads to ask for (default: 1000)",
    )
    parser.add_argument(
        "--hours", type=number(1, MAX_HOURS), default=24, metavar="T", help="how far back they count (default: 24)"
    )
    parser.add_argument(
        "--failed",
        type=number(0, 100),
        default=1,
        metavar="PERCENT",
        help="of the reads to compare, so many may have had no answer from Isobase (default: 1)",
    )
    parser.add_argument("--no-verify", action="store_true", help="do not compare rows, users and objects")
    parser.add_argument(
        "--objects", choices=DEPTHS, default="facts", help="how objects are compared (default: facts, by size and ETag)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only look at the gates")
    parser = subcommand(
        family,
        "rollback",
        handler="migrate_cutover:rollback",
        help_text="take a stage back to the one before it, and the writer with it where that is needed",
        description="Takes each capability's stage back to the one before. Where Isobase is written first and the stage"
        " before asks for Supabase, the writer goes back first, once all that waits for Supabase has arrived there.",
    )
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_control_file(parser)
    parser.add_argument(
        "--sequences-moved",
        action="store_true",
        help="with --control-file and no database URLs: you have put the sequences past each other yourself",
    )
    parser.add_argument(
        "capabilities",
        nargs="+",
        metavar="CAPABILITY",
        help="auth, table:public.orders, bucket:avatars ..., or with * at its end",
    )
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the history of flags")
    parser.add_argument("--by", default="", metavar="NAME", help="who; default: the account of the operating system")
    parser.add_argument(
        "--forget-client",
        dest="forget_clients",
        action="append",
        type=_uuid,
        default=[],
        metavar="ID",
        help="a silent client that will not come back; repeat it for more",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="also write the report there: .html a page, else JSON"
    )


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a client's id") from error
