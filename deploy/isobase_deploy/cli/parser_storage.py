"""The flags of ``isobase storage``: moving objects between stores, checking them, rewriting URLs that tables hold."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

__all__ = ["add_storage"]

MAX_PARALLEL = 256
MAX_DURATION_S = 365 * 24 * 3600
SIDES = ("file", "s3", "main", "fallback")
_AddProjectFlags = Callable[[argparse.ArgumentParser], None]


def add_storage(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], add_project_flags: _AddProjectFlags
) -> None:
    """Add the family to the command line."""
    family = commands.add_parser("storage", help="the project's files").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    _add_move(family, add_project_flags)
    _add_check(family, add_project_flags)
    parser = family.add_parser("rewrite", help="change the beginnings of URLs in tables")
    _add_rewrite_flags(parser, is_required=True)
    parser.add_argument("--dry-run", action="store_true", help="only count the rows")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the numbers there, as JSON")
    _add_database_flags(parser, add_project_flags)
    parser.set_defaults(handler="storage:rewrite")


def _add_move(family: argparse._SubParsersAction[argparse.ArgumentParser], add_project_flags: _AddProjectFlags) -> None:
    parser = family.add_parser(
        "move",
        help="copy all objects to another store and verify them, while a server runs or not",
        description="Copies every object that the database names from one store to another, and compares what arrived."
        " It can be ended at any time and called again. Secrets come from the environment alone"
        " (ISOBASE_STORAGE__S3__..., ISOBASE_STORAGE__FALLBACK__S3__...). docs/storage-move.md tells how to cut over.",
    )
    for name, verb in (("from", "read"), ("to", "written")):
        side = parser.add_argument_group(f"the store that is {verb}")
        side.add_argument(
            f"--{name}",
            dest=f"{name}_side",
            choices=SIDES,
            required=True,
            help="the disk, S3, the store of the settings (main), or that of storage.fallback",
        )
        side.add_argument(f"--{name}-root", type=Path, metavar="DIR", help="its directory, for file")
        side.add_argument(f"--{name}-bucket", metavar="NAME", help="its S3 bucket")
        side.add_argument(f"--{name}-prefix", metavar="TEXT", help="what its S3 keys begin with")
        side.add_argument(f"--{name}-region", metavar="NAME", help="its S3 region")
        side.add_argument(f"--{name}-endpoint-url", metavar="URL", help="its S3 server, where that is not AWS")
        side.add_argument(
            f"--{name}-path-style",
            action="store_true",
            default=None,
            help="put its S3 bucket into the path and not into the host's name",
        )
    parser.add_argument("--bucket", metavar="ID", help="move the objects of this bucket of storage alone")
    parser.add_argument(
        "--verify",
        choices=("checksum", "deep"),
        default="checksum",
        help="checksum: by what the target reports (default); deep: read everything back and compare SHA-256",
    )
    parser.add_argument(
        "--parallel", type=_number(1, MAX_PARALLEL), default=8, metavar="N", help="objects at a time (default: 8)"
    )
    parser.add_argument(
        "--follow",
        type=_number(1, MAX_DURATION_S),
        metavar="SECONDS",
        help="go on and look again so often, until Ctrl-C; then finish",
    )
    parser.add_argument(
        "--ignore-missing", action="store_true", help="objects that neither store has are reported, but no failure"
    )
    parser.add_argument(
        "--delete-source",
        action="store_true",
        help="after a verification without a problem, remove from the source what the target has",
    )
    parser.add_argument("--dry-run", action="store_true", help="only count what would be done")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the verification report there, as JSON")
    _add_rewrite_flags(parser, is_required=False)
    _add_database_flags(parser, add_project_flags)
    parser.set_defaults(handler="storage:move")


def _add_check(
    family: argparse._SubParsersAction[argparse.ArgumentParser], add_project_flags: _AddProjectFlags
) -> None:
    parser = family.add_parser("check", help="find blobs without a row and rows without a blob")
    parser.add_argument("--fix", action="store_true", help="remove blobs without a row; rows are never removed")
    parser.add_argument("--force", action="store_true", help="with --fix: however many and however young they are")
    parser.add_argument(
        "--grace",
        type=_number(0, MAX_DURATION_S),
        metavar="SECONDS",
        help="how old a blob must be to count (default: storage.worker.orphan_grace_s, a day)",
    )
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="form of the output")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the report there, as JSON")
    _add_database_flags(parser, add_project_flags)
    parser.set_defaults(handler="storage:check")


def _add_rewrite_flags(parser: argparse.ArgumentParser, *, is_required: bool) -> None:
    group = parser.add_argument_group("rewriting URLs in tables", None if is_required else "Done when the move is.")
    group.add_argument(
        "--column" if is_required else "--rewrite",
        dest="columns",
        action="append",
        default=[],
        required=is_required,
        metavar="SCHEMA.TABLE.COLUMN",
        help="a column (text, text[], json, jsonb) that holds URLs; repeat it for more",
    )
    for name, meaning in (("old", "what URLs begin with"), ("new", "what they shall begin with")):
        group.add_argument(
            f"--{name}-prefix",
            dest=f"{name}_prefixes",
            action="append",
            default=[],
            required=is_required,
            metavar="URL",
            help=f"{meaning}; repeat the two for more",
        )


def _add_database_flags(parser: argparse.ArgumentParser, add_project_flags: _AddProjectFlags) -> None:
    add_project_flags(parser)
    parser.add_argument("--database-url", metavar="URL", help="a database other than the running stack's")


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest} to {highest}")
        return int(text)

    return parse
