"""A JSON array read while it arrives: rows come out one by one, and no more than the unfinished row is kept."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncGenerator, Generator
from typing import Any, TypeVar

Each = TypeVar("Each")
AsyncRows = AsyncGenerator[Each, None]
"""What an async statement gives bit by bit."""
SyncRows = Generator[Each, None, None]
"""The same of a sync statement."""

_WHITE = " \t\r\n"


class RowReader:
    """Takes a body's bytes piece by piece and gives the array's elements that are complete, each parsed and as its
    text.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._scan = json.JSONDecoder().raw_decode
        self._text = ""
        self._begun = False
        self._tried = 0  # how long the text was when its first element was not complete
        self.is_done = False

    def feed(self, piece: bytes) -> list[tuple[Any, str]]:
        """Take the next bytes; gives the elements that they complete.

        Raises ValueError for what is no array of JSON.
        """
        self._text += self._decode(piece)
        # A row longer than a piece is looked at again when the text has doubled, so that long rows cost no more than twice.
        if len(self._text) < self._tried and b"]" not in piece and b"}" not in piece:
            return []
        found, at, text = [], 0, self._text
        while True:
            while at < len(text) and (text[at] in _WHITE or (self._begun and text[at] == ",")):
                at += 1
            if at == len(text) or self.is_done:
                break
            if not self._begun:
                if text[at] != "[":
                    raise ValueError("the answer is no array of rows")
                self._begun = True
                at += 1
                continue
            if text[at] == "]":
                self.is_done = True
                at += 1
                continue
            try:
                value, end = self._scan(text, at)
            except ValueError:
                self._tried = 2 * (len(text) - at)
                break
            after = text[end:].lstrip(_WHITE)[:1] if text[end : end + 1] in _WHITE else text[end : end + 1]
            if after not in (",", "]"):  # a number may go on in the next piece
                break
            found.append((value, text[at:end]))
            at = end
            self._tried = 0
        self._text = text[at:]
        return found
