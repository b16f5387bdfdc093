"""Calls a command's handler and turns what it raises into one message and an exit code."""

from __future__ import annotations

import argparse
import errno
import sys
from importlib import import_module

from isobase_deploy.cli.exit_codes import ExitCode, exit_code_of
from isobase_deploy.cli.output import error_text
from isobase_platform.errors import IsobaseError

__all__ = ["run"]

MACHINE_ERRORS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
"""What files and disks refuse wherever it is met: rights and space, which the user gives and not we."""


def run(parsed: argparse.Namespace) -> int:
    """Run the handler that the parser chose.

    Expected failures (the house's error tree, and files that may not be read or written) are one message; anything else is
    Python's own traceback on standard error, because it is a fault of ours and the report needs it.
    """
    module, _, function = parsed.handler.partition(":")
    handler = getattr(import_module(f"isobase_deploy.cli.{module}"), function)
    try:
        return int(handler(parsed))
    except IsobaseError as error:
        print(error_text(error), file=sys.stderr)  # noqa: T201  the command line's voice
        return int(exit_code_of(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (isobase status | head).
        sys.stderr.close()
        return int(ExitCode.OK)
    except OSError as error:
        if error.errno not in MACHINE_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"error: {where}{error.strerror}", file=sys.stderr)  # noqa: T201
        return int(ExitCode.CONFIGURATION)
