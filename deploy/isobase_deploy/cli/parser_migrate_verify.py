"""The flags of ``isobase migrate verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isobase_deploy.cli.parser_migrate import number, subcommand

if TYPE_CHECKING:
    from isobase_deploy.cli.parser_migrate import Family

__all__ = ["DEPTHS", "add"]

PARTS = ("schema", "rows", "users", "objects")
DEPTHS = ("facts", "unsure", "bytes")
MAX_PARALLEL = 16
MAX_NAMED = 100_000


def add(family: Family) -> None:
    """Add the command."""
    parser = subcommand(
        family,
        "verify",
        handler="migrate_verify:verify",
        help_text="say whether both sides are equal, and repair what is not",
        description="Compares definitions, rows, users and objects of both sides, and names what differs. It changes"
        " nothing unless --repair is given; then the side that is written first is right."
        " Exit code 10 where something differs. docs/migration/verify.md tells what it does.",
    )
    parser.add_argument(
        "--part", dest="parts", action="append", choices=PARTS, default=[], help="verify this alone; repeat it for more"
    )
    parser.add_argument(
        "--table",
        dest="tables",
        action="append",
        default=[],
        metavar="SCHEMA.TABLE",
        help="verify the rows of this table alone; repeat it for more",
    )
    parser.add_argument("--repair", action="store_true", help="carry what differs from the side that is written first")
    parser.add_argument(
        "--objects", choices=DEPTHS, default="facts", help="how objects are compared (default: facts, by size and ETag)"
    )
    parser.add_argument(
        "--parallel",
        type=number(1, MAX_PARALLEL),
        default=2,
        metavar="N",
        help="pieces of a table that each side reads at a time (default: 2)",
    )
    parser.add_argument(
        "--named", type=number(0, MAX_NAMED), default=100, metavar="N", help="rows named per table (default: 100)"
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="keep there which tables and ranges are done, and go on from it when ended",
    )
    parser.add_argument("--again", action="store_true", help="with --resume: begin anew, whatever the file holds")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="also write the report there: .html a page, else JSON"
    )
