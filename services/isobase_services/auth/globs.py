"""Patterns of the redirect allow-list. Pure functions.

The language is that of upstream's glob library (gobwas/glob) with ``.`` and ``/`` as separators: ``*`` stops at a
separator, ``**`` does not, ``?`` is one character that is no separator, ``[abc]``, ``[a-z]`` and ``[!a-z]`` are one of
(or none of) the characters, ``{a,b}`` is one of the patterns, a backslash takes the next character as it is.

A pattern is matched by following all its positions at once, one step per character: however many stars it has, a caller's
URL costs time in proportion to its length (a backtracking regular expression would not).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

__all__ = ["Glob", "GlobError", "compile_glob"]

SEPARATORS = frozenset("./")
MAX_ALTERNATIVES = 256
"""How many plain patterns the braces of one pattern may stand for."""

_Test: TypeAlias = Callable[[str], bool]


class GlobError(ValueError):
    """The pattern cannot be read."""


@dataclass(slots=True, frozen=True)
class _Token:
    """One position: which characters it takes, and whether it takes any number of them."""

    takes: _Test
    is_repeated: bool = False


@dataclass(slots=True, frozen=True)
class Glob:
    """A compiled pattern."""

    alternatives: tuple[tuple[_Token, ...], ...]

    def matches(self, text: str) -> bool:
        """Whether the whole of ``text`` fits."""
        return any(_fits(tokens, text) for tokens in self.alternatives)


@lru_cache(maxsize=512)
def compile_glob(pattern: str) -> Glob:
    """Compile ``pattern``. Raises ``GlobError`` for an unclosed bracket or brace, or too many alternatives."""
    return Glob(tuple(_tokens(plain) for plain in _expand(pattern)))


def _fits(tokens: tuple[_Token, ...], text: str) -> bool:
    # Bit n is set while position n is the next to be taken; a star may also be passed without taking anything.
    states = _pass_stars(tokens, 1)
    for character in text:
        following = 0
        for position, token in enumerate(tokens):
            if states >> position & 1 and token.takes(character):
                following |= 1 << (position if token.is_repeated else position + 1)
        states = _pass_stars(tokens, following)
        if not states:
            return False
    return bool(states >> len(tokens) & 1)


def _pass_stars(tokens: tuple[_Token, ...], states: int) -> int:
    for position, token in enumerate(tokens):
        if token.is_repeated and states >> position & 1:
            states |= 1 << (position + 1)
    return states


def _expand(pattern: str) -> list[str]:
    """The patterns without braces that ``pattern`` stands for."""
    start = _find_unescaped(pattern, "{")
    if start < 0:
        if _find_unescaped(pattern, "}") >= 0:
            raise GlobError("a closing brace without an opening one")
        return [pattern]
    options, end = _options(pattern, start)
    expanded = [pattern[:start] + option + rest for option in options for rest in _expand(pattern[end:])]
    # An option may hold braces of its own.
    plain = [
        text for candidate in expanded for text in (_expand(candidate) if "{" in candidate[start:] else [candidate])
    ]
    if len(plain) > MAX_ALTERNATIVES:
        raise GlobError(f"more than {MAX_ALTERNATIVES} alternatives")
    return plain


def _options(pattern: str, start: int) -> tuple[list[str], int]:
    """The options of the braces that open at ``start``, and where the rest of the pattern begins."""
    options: list[str] = []
    depth, current, position = 1, "", start + 1
    while position < len(pattern):
        character = pattern[position]
        if character == "\\" and position + 1 < len(pattern):
            current += pattern[position : position + 2]
            position += 2
            continue
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return [*options, current], position + 1
        elif character == "," and depth == 1:
            options.append(current)
            current = ""
            position += 1
            continue
        current += character
        position += 1
    raise GlobError("a brace is not closed")


def _find_unescaped(pattern: str, wanted: str) -> int:
    position, in_class = 0, False
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            position += 2
            continue
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
        elif character == wanted:
            return position
        position += 1
    return -1


def _tokens(pattern: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if pattern[position : position + 1] == "*":
                position += 1
                tokens.append(_Token(_any_character, is_repeated=True))
            else:
                tokens.append(_Token(_no_separator, is_repeated=True))
        elif character == "?":
            tokens.append(_Token(_no_separator))
        elif character == "[":
            end = pattern.find("]", position)
            if end < 0:
                raise GlobError("a bracket is not closed")
            tokens.append(_Token(_class(pattern[position:end])))
            position = end + 1
        elif character == "\\" and position < len(pattern):
            tokens.append(_Token(_exactly(pattern[position])))
            position += 1
        else:
            tokens.append(_Token(_exactly(character)))
    return tuple(tokens)


def _any_character(character: str) -> bool:
    return True


def _no_separator(character: str) -> bool:
    return character not in SEPARATORS


def _exactly(wanted: str) -> _Test:
    return lambda character: character == wanted


def _class(content: str) -> _Test:
    is_negated = content.startswith("!")
    members = content[1:] if is_negated else content
    if not members:
        raise GlobError("empty brackets")
    if len(members) == 3 and members[1] == "-":
        low, high = members[0], members[2]
        if low > high:
            raise GlobError("a range that ends before it begins")
        return lambda character: (low <= character <= high) is not is_negated
    allowed = frozenset(members)
    return lambda character: (character in allowed) is not is_negated
