"""The exit codes of the command line; docs/cli.md lists them, and a test keeps it so."""

from __future__ import annotations

from enum import IntEnum

from isobase_deploy.migrations import ScriptError
from isobase_platform.errors import BadRequest, ConfigurationError, DatabaseError, IsobaseError, NotFound, Unavailable

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """One code per kind of failure, so that a script can tell them apart."""

    OK = 0
    UNEXPECTED = 1
    """A fault of Isobase itself; the report on standard error says more."""
    USAGE = 2
    """The command line was not understood (argparse's own code)."""
    ALREADY_RUNNING = 3
    """A server runs already on this data directory, or a move of objects on this database."""
    PORT_TAKEN = 4
    CONFIGURATION = 5
    """config.toml, a flag or a variable holds what cannot be served."""
    SCRIPT_FAILED = 6
    """A migration, seed file or roles.sql failed."""
    DATABASE = 7
    """PostgreSQL is out of reach, did not start, or refused what Isobase itself needs."""
    NOT_RUNNING = 8
    """The command needs a running server, and there is none."""
    REFUSED = 9
    """The state of things does not allow the command; nothing was changed."""
    NOT_IN_ORDER = 10
    """The command did its work and found something: objects that are missing or not moved, blobs without a row."""
    STORE = 11
    """The store of objects is out of reach, refuses, or has no room left."""
    INTERRUPTED = 130
    """Ctrl-C before the server was up, or before the command was done."""


def exit_code_of(error: IsobaseError) -> ExitCode:
    """The code for an error of the house's tree."""
    by_code = {
        "already_running": ExitCode.ALREADY_RUNNING,
        "port_taken": ExitCode.PORT_TAKEN,
        "not_running": ExitCode.NOT_RUNNING,
        "store_unavailable": ExitCode.STORE,
    }
    if isinstance(error, ScriptError):
        return ExitCode.SCRIPT_FAILED
    if error.code in by_code:
        return by_code[error.code]
    if isinstance(error, ConfigurationError):
        return ExitCode.CONFIGURATION
    if isinstance(error, BadRequest | NotFound):
        return ExitCode.REFUSED
    if isinstance(error, Unavailable | DatabaseError):
        return ExitCode.DATABASE
    return ExitCode.UNEXPECTED
