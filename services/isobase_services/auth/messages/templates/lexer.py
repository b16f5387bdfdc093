"""Cuts a Go template into text and actions, and an action into tokens.

Source: Go's text/template: actions between ``{{`` and ``}}``, trim markers, comments, string, number and field tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Action", "TemplateError", "Text", "Token", "pieces", "tokens"]

_ACTION = re.compile(
    r"""\{\{(?P<left>-(?=\s))?
        (?P<inside>\s*/\*.*?\*/\s*|(?:`[^`]*`|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|(?!\}\}).)*?)
        (?P<right>(?<=\s)-)?\}\}""",
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      |(?P<raw>`[^`]*`)
      |(?P<string>"(?:[^"\\\n]|\\.)*")
      |(?P<number>[+-]?\d+(?:\.\d+)?)
      |(?P<field>(?:\.[A-Za-z_]\w*)+)
      |(?P<dot>\.)
      |(?P<variable>\$\w*)
      |(?P<word>[A-Za-z_]\w*)
      |(?P<sign>[()|])
      |(?P<other>:=|.)""",
    re.VERBOSE | re.DOTALL,
)


class TemplateError(ValueError):
    """What a template says that cannot be rendered; ``line`` counts from 1."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(f"line {line}: {problem}")
        self.problem = problem
        self.line = line


@dataclass(slots=True, frozen=True)
class Text:
    """Text that is rendered as it stands."""

    text: str


@dataclass(slots=True, frozen=True)
class Action:
    """What stands between ``{{`` and ``}}``, and the line that it begins on."""

    inside: str
    line: int


@dataclass(slots=True, frozen=True)
class Token:
    """``kind``: raw, string, number, field, dot, variable, word or sign; ``text`` of a string is what it means."""

    kind: str
    text: str


def pieces(source: str) -> Iterator[Text | Action]:
    """Text and actions in their order, without comments and with trim markers obeyed. Raises ``TemplateError``."""
    end, trims = 0, False
    for match in _ACTION.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        yield Text(_checked(source[end : match.start()], end, source, trims, match["left"] is not None))
        inside = match["inside"].strip()
        if not inside.startswith("/*"):
            yield Action(inside, line)
        end, trims = match.end(), match["right"] is not None
    yield Text(_checked(source[end:], end, source, trims, False))


def _checked(text: str, start: int, source: str, trims_left: bool, trims_right: bool) -> str:
    if "{{" in text:
        line = source.count("\n", 0, start + text.index("{{")) + 1
        raise TemplateError("an action that begins with {{ does not end", line)
    text = text.lstrip() if trims_left else text
    return text.rstrip() if trims_right else text


def tokens(action: Action) -> list[Token]:
    """The tokens of an action. Raises ``TemplateError`` for what is none."""
    found: list[Token] = []
    for match in _TOKEN.finditer(action.inside):
        kind, text = str(match.lastgroup), match[0]
        if kind == "space":
            continue
        if kind == "other":
            raise TemplateError(f"{text} is not supported in templates here", action.line)
        if kind == "raw":
            kind, text = "string", text[1:-1]
        elif kind == "string":
            try:
                text = str(json.loads(text))
            except ValueError:
                raise TemplateError(f"the text {text} cannot be read", action.line) from None
        found.append(Token(kind, text))
    return found
