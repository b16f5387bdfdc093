"""Server-sent events, read from pieces of bytes as they arrive. No I/O.

Source: the HTML standard, section 9.2.6 "Interpreting an event stream".
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["EventReader", "ServerSentEvent"]

# Not str.splitlines, which also ends a line at U+2028 and other characters that may stand within data.
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(slots=True, frozen=True)
class ServerSentEvent:
    """One event of a ``text/event-stream``.

    event: its name, ``message`` where the stream names none. data: its lines, joined by line feeds.
    id: the last id that the stream gave, or an empty text. retry: milliseconds that the stream asks to wait before it
    is asked again.
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None

    def json(self) -> Any:
        """Give ``data`` read as JSON; ``ValueError`` when it is none."""
        return json.loads(self.data)


class EventReader:
    """Reads one stream; an event that its end cuts off is dropped, as the standard says."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._text = ""
        self._data: list[str] = []
        self._event = ""
        self._id = ""
        self._retry: int | None = None

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """Take the next bytes; gives the events that they complete."""
        self._text += self._decoder.decode(piece)
        # A carriage return at the end may be the first half of a line's end.
        complete = self._text[:-1] if self._text.endswith("\r") else self._text
        *lines, rest = _LINE_END.split(complete)
        self._text = rest + self._text[len(complete) :]
        for line in lines:
            event = self._line(line)
            if event is not None:
                yield event

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self._retry = int(value)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        data, event = self._data, self._event
        self._data, self._event = [], ""
        if not data:
            return None
        return ServerSentEvent("\n".join(data), event or "message", self._id, self._retry)
