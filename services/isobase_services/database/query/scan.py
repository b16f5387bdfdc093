"""A cursor over one value of the query string: the lexical rules that select, filters and order share.

Source: PostgREST v14 ``ApiRequest/QueryParams.hs``: field names end at reserved characters unless quoted; quoted text takes
backslash escapes.
"""

from __future__ import annotations

import re

from isobase_services.database.query.ast import Field, JsonStep
from isobase_services.database.query.errors import ParseError

__all__ = ["Scanner"]

# Letters, digits, underscore, space, $ and dash inside a name; a dash that begins an arrow is not part of it.
_NAME = re.compile(r"(?:[\w $]|-(?!>))+")
# One dash at a time joins the parts of a key.
_JSON_KEY = re.compile(r"[^(\-:.,>)]+(?:-(?!>)[^(\-:.,>)]+)*")
_INDEX = re.compile(r"-?\d+(?=$|->|::|[.,)=])")


class Scanner:
    """Reads ``text`` from left to right; ``what`` names the parameter in errors."""

    def __init__(self, text: str, what: str) -> None:
        self.text = text
        self.what = what
        self.position = 0
        self.shift = 0

    @property
    def at_end(self) -> bool:
        """True when nothing is left."""
        return self.position >= len(self.text)

    def peek(self, token: str) -> bool:
        """True when ``token`` comes next."""
        return self.text.startswith(token, self.position)

    def take(self, token: str) -> bool:
        """Consume ``token`` when it comes next."""
        if self.peek(token):
            self.position += len(token)
            return True
        return False

    def skip_spaces(self) -> None:
        """Consume spaces and tabs."""
        while self.take(" ") or self.take("\t"):
            pass

    def take_separator(self, token: str) -> bool:
        """Consume ``token`` with spaces around it when it comes next."""
        start = self.position
        self.skip_spaces()
        if not self.take(token):
            self.position = start
            return False
        self.skip_spaces()
        return True

    def expect(self, token: str) -> None:
        """Consume ``token`` or refuse."""
        if not self.take(token):
            raise self.error(f'expecting "{token}"')

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Consume what ``pattern`` matches here."""
        found = pattern.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        return found.group()

    def error(self, expectation: str) -> ParseError:
        """PGRST100 at the present place; ``shift`` counts what upstream sees before the text."""
        rest = self.text[self.position : self.position + 1]
        unexpected = f'unexpected "{rest}"' if rest else "unexpected end of input"
        return ParseError(
            f'"failed to parse {self.what} ({self.text})" (line 1, column {self.position + self.shift + 1})',
            details=f"{unexpected} {expectation}",
        )

    def error_at_char(self, expectation: str) -> ParseError:
        """As ``error`` where upstream names the one letter that must not follow, in single quotes."""
        error = self.error(expectation)
        error.details = f"unexpected '{self.text[self.position]}' {expectation}"
        return error

    def quoted(self) -> str | None:
        """A double-quoted text with backslash escapes, or None where none begins."""
        if not self.take('"'):
            return None
        parts: list[str] = []
        while not self.at_end:
            letter = self.text[self.position]
            self.position += 1
            if letter == '"':
                return "".join(parts)
            if letter == "\\" and not self.at_end:
                letter = self.text[self.position]
                self.position += 1
            parts.append(letter)
        raise self.error("expecting a closing quote")

    def name(self) -> str:
        """A field or relation name, quoted or bare; surrounding spaces of a bare one do not count."""
        quoted = self.quoted()
        if quoted is not None:
            return quoted
        bare = (self.match(_NAME) or "").strip()
        if not bare:
            raise self.error("expecting field name (* or [a..z0..9_$])")
        return bare

    def field(self) -> Field:
        """A name and the JSON steps behind it."""
        name = self.name()
        steps: list[JsonStep] = []
        while self.peek("->"):
            as_text = self.take("->>")
            if not as_text:
                self.expect("->")
            index = self.match(_INDEX)
            if index is not None:
                steps.append(JsonStep(index, as_text, is_index=True))
                continue
            key = self.quoted()
            key = key if key is not None else (self.match(_JSON_KEY) or "").strip()
            if not key and self.take("-"):
                raise self.error("expecting digit")
            if not key:
                raise self.error('expecting "-", digit or any non reserved character different from: .,>()')
            steps.append(JsonStep(key, as_text, is_index=False))
        return Field(name, tuple(steps))
