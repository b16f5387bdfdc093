"""The client's log lines: to the logger ``isobase.realtime``, and to the app's own function where one was given."""

from __future__ import annotations

import logging
from collections.abc import Callable

__all__ = ["ClientLog", "LogFunction"]

logger: logging.Logger = logging.getLogger("isobase.realtime")

LogFunction = Callable[[str, str, object], None]
KINDS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class ClientLog:
    """Writes lines of a kind: debug, info, warning or error. ``least`` is the least kind that ``function`` is given.

    Raises ``ValueError`` for another kind as the least one.
    """

    def __init__(self, function: LogFunction | None, least: str | None) -> None:
        if least is not None and least not in KINDS:
            raise ValueError(f"log_level must be one of {', '.join(KINDS)}")
        self._function = function
        self._least = KINDS[least or "debug"]

    @property
    def is_detailed(self) -> bool:
        """Whether anybody sees lines of the kind debug, which are worth making then only."""
        return self._function is not None or logger.isEnabledFor(logging.DEBUG)

    def __call__(self, kind: str, message: str, data: object = None) -> None:
        level = KINDS.get(kind, logging.INFO)
        logger.log(level, "%s" if data is None else "%s %r", message, *(() if data is None else (data,)))
        if self._function is None or level < self._least:
            return
        try:
            self._function(kind, message, data)
        except Exception:  # it is the app's, and must not end the connection
            logger.exception("the logger that was given failed")
