"""The ``isobase`` command. Each family of commands has a module of its own, imported when it is called.

``main`` is the entry point: it parses, dispatches and turns what goes wrong into one message and an exit code.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from isobase_deploy.cli.parser import build_parser, parse

__all__ = ["main"]

COLLECT_AFTER_OBJECTS = 100_000
"""Reading a thousand modules makes many objects and no garbage; a server sets its own number once it serves."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (``exit_codes.ExitCode``).

    ``arguments``: without the program's name, default the process's. Expected failures are one message on standard error.
    """
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    try:
        return _call(arguments)
    except KeyboardInterrupt:
        # Ctrl-C while modules are imported; later ones are ``dispatch``'s.
        print("interrupted", file=sys.stderr)  # noqa: T201  the command's voice
        return 130


def _call(arguments: Sequence[str] | None) -> int:
    parser = build_parser()
    parsed = parse(parser, arguments)
    if parsed.command is None:
        parser.print_help()
        return 2
    try:
        from isobase_deploy.cli.dispatch import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("isobase"):
            raise
        # A plain `pip install isobase` brings the client and this command's script, but not what a server needs.
        print(  # noqa: T201  the command's voice
            f"error: the package {error.name} is not installed\nhint: pip install 'isobase[server]'", file=sys.stderr
        )
        return 5
    return run(parsed)
