"""The flags of ``isobase migrate flags ...`` and ``isobase migrate status``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from isobase_deploy.cli.parser_migrate import add_control_file, number, subcommand

if TYPE_CHECKING:
    from isobase_deploy.cli.parser_migrate import Family

__all__ = ["add"]

STAGES = ("off", "dual_write", "shadow_read", "live", "ramp_down", "complete")
MAX_LINES = 10_000
MAX_HOURS = 24 * 14
CAPABILITY_HELP = (
    "auth, realtime, functions, table:public.orders, rpc:public.total, bucket:avatars, or with * at its end"
)


def add(family: Family) -> None:
    """Add the commands."""
    parser = family.add_parser("flags", help="list, set and explain the stages of a move")
    actions = parser.add_subparsers(dest="flags_action", metavar="ACTION", required=True)
    _one(actions, "list", "show every flag with its writer")
    parser = _one(actions, "set", "take a capability to a neighbouring stage, or change its share of users")
    parser.add_argument("capability", help=CAPABILITY_HELP)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--share", type=_percent, default=100.0, metavar="PERCENT", help="of users (default: 100)")
    parser.add_argument("--user", dest="users", action="append", default=[], metavar="ID", help="a user who is in")
    parser.add_argument("--expect", type=number(0, 2**62), metavar="VERSION", help="refuse if the flag is of another")
    parser.add_argument(
        "--wait", type=number(0, 3600), default=5, metavar="SECONDS", help="for all clients to act upon it (default: 5)"
    )
    _why(parser)
    parser = _one(actions, "remove", "remove a flag where the one that covers it says the same")
    parser.add_argument("capability", help=CAPABILITY_HELP)
    _why(parser)
    parser = _one(actions, "history", "show who changed what and why, the newest first")
    parser.add_argument("capability", nargs="?", help="default: all")
    parser.add_argument("--limit", type=number(1, MAX_LINES), default=50, metavar="N", help="lines (default: 50)")
    parser = _one(actions, "rule", "set how a capability is compared, while clients run")
    parser.add_argument("capability", help=CAPABILITY_HELP)
    parser.add_argument("name", help="sample_percent, noise_percent, ignore_columns, key_columns")
    parser.add_argument("value", help='JSON: 10, ["updated_at"]; null removes the rule')
    _why(parser)
    parser = _one(actions, "mismatches", "show how the sides' answers differ, grouped by cause")
    parser.add_argument("capability", nargs="?", help="default: all")
    parser = _one(actions, "explain", "say why a group of mismatches is no defect; gates count it no longer")
    parser.add_argument("group", type=number(1, 2**62), help="its number")
    parser.add_argument("why", nargs="?", help="in your words; without it the group counts again")
    _why(parser)
    _one(actions, "clients", "show the clients and which change each acts upon")
    parser = _one(actions, "forget-client", "say that a silent client is gone for good: nothing waits for it")
    parser.add_argument("client", help="its id")
    parser = subcommand(
        family,
        "status",
        handler="migrate_status:status",
        help_text="show on one screen how the move stands",
        description="Shows stages, writers, clients, what waits in the outbox, how reads compare (with the noise floor),"
        " open breakers and the last events.",
    )
    add_control_file(parser)
    parser.add_argument("--watch", action="store_true", help="show it again and again until Ctrl-C")
    parser.add_argument(
        "--every", type=number(1, 3600), default=2, metavar="SECONDS", help="between two looks (default: 2)"
    )
    parser.add_argument("--hours", type=number(1, MAX_HOURS), default=1, metavar="N", help="of counters (default: 1)")


def _one(actions: Family, name: str, text: str) -> argparse.ArgumentParser:
    parser = subcommand(actions, name, handler=f"migrate_flags:{name.replace('-', '_')}_command", help_text=text)
    add_control_file(parser)
    return parser


def _why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", metavar="TEXT", help="kept in the history")
    parser.add_argument("--by", default="", metavar="NAME", help="who does it (default: this account)")


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage from 0 to 100")
    return value
