"""The flags of ``isobase migrate outbox ...`` and ``isobase migrate drain``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from isobase_deploy.cli.parser_migrate import add_control_file, number, subcommand

if TYPE_CHECKING:
    from isobase_deploy.cli.parser_migrate import Family

__all__ = ["add"]

STATES = ("intent", "pending", "dead")
MAX_LISTED = 1_000
MAX_WAIT_S = 86_400
LARGEST_NUMBER = 2**62


def add(family: Family) -> None:
    """Add the commands."""
    parser = family.add_parser("outbox", help="look at what one side does not have yet, and decide about dead letters")
    actions = parser.add_subparsers(dest="outbox_action", metavar="ACTION", required=True)
    parser = _one(actions, "list", "list what waits, the oldest first")
    parser.add_argument("--state", choices=STATES, help="only such entries (dead: those that wait for you)")
    parser.add_argument("--capability", metavar="NAME", help="only of this one, as table:public.orders")
    parser.add_argument("--limit", type=number(1, MAX_LISTED), default=100, metavar="N", help="lines (default: 100)")
    parser = _one(actions, "show", "show one entry with what each side held; secrets are left out")
    _number(parser)
    parser = _one(actions, "edit", "have a dead letter carried otherwise")
    _number(parser)
    parser.add_argument("--key", metavar="JSON", help='another key\'s values in its order: [17], ["a", 2]')
    parser.add_argument(
        "--leave-out",
        action="append",
        default=[],
        metavar="COLUMN",
        help="it keeps the target's value; repeat it for more",
    )
    parser.add_argument(
        "--image",
        metavar="FILE",
        help="a JSON object of columns' values to lay over the source's row; - reads it from standard input",
    )
    parser = _one(actions, "retry", "carry dead letters once more")
    _numbers(parser)
    parser.add_argument(
        "--keep",
        choices=("supabase", "isobase"),
        help="the side whose version counts, for what changed on both; the other one is overwritten",
    )
    _who(parser)
    parser = _one(actions, "drop", "forget dead letters")
    _numbers(parser)
    parser.add_argument("--reason", required=True, metavar="TEXT", help="kept as an event")
    _who(parser)
    parser = subcommand(
        family,
        "drain",
        handler="migrate_outbox:drain_command",
        help_text="carry what waits in the outbox now",
        description="Carries what waits in the outbox, beside the clients that do so as well. Ends when nothing waits, or"
        " with code 10 when something is left.",
    )
    add_control_file(parser)
    parser.add_argument(
        "--timeout", type=number(1, MAX_WAIT_S), default=300, metavar="SECONDS", help="give up after (default: 300)"
    )


def _one(actions: Family, name: str, text: str) -> argparse.ArgumentParser:
    parser = subcommand(actions, name, handler=f"migrate_outbox:{name}_command", help_text=text)
    add_control_file(parser)
    return parser


def _number(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", type=number(1, LARGEST_NUMBER), help="the entry's")


def _numbers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("numbers", nargs="*", type=number(1, LARGEST_NUMBER), metavar="NUMBER", help="the letters'")
    parser.add_argument("--all", action="store_true", help="all dead letters; look at them first")
    parser.add_argument("--capability", metavar="NAME", help="with --all: those of this one, as table:public.orders")


def _who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", default="", metavar="NAME", help="who; default: the account of the operating system")
