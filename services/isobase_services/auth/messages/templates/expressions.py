"""What stands inside an action, as a Jinja2 expression over ``dot`` (the current value) and ``root``.

Source: Go's text/template: arguments, pipelines and its predefined functions, as far as mail uses them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from isobase_services.auth.messages.templates.lexer import TemplateError, Token

__all__ = ["FUNCTIONS", "expression"]

_ANY = 99
FUNCTIONS: Mapping[str, tuple[int, int]] = {
    "and": (1, _ANY),
    "or": (1, _ANY),
    "not": (1, 1),
    "eq": (2, _ANY),
    **dict.fromkeys(("ne", "lt", "le", "gt", "ge"), (2, 2)),
    "len": (1, 1),
    "index": (1, _ANY),
    "print": (0, _ANY),
    "println": (0, _ANY),
    "printf": (1, _ANY),
    "html": (1, _ANY),
    "urlquery": (1, _ANY),
}
"""The functions, and how many arguments each takes at least and at most."""
_CONSTANTS = {"true": "true", "false": "false", "nil": "none"}


def expression(found: Sequence[Token], line: int) -> str:
    """The Jinja2 expression of a pipeline. Raises ``TemplateError`` for what is not supported."""
    reader = _Reader(found, line)
    result = reader.pipeline()
    reader.expect_end()
    return result


class _Reader:
    def __init__(self, found: Sequence[Token], line: int) -> None:
        self._found = found
        self._line = line
        self._at = 0

    def expect_end(self) -> None:
        if self._next is not None:
            raise self._error(f"{self._next.text} is not expected there")

    def pipeline(self) -> str:
        """``command | function arguments``: each result is the last argument of the next function."""
        result = self._command(None)
        while self._take("sign", "|"):
            result = self._command(result)
        return result

    def _command(self, piped: str | None) -> str:
        token = self._next
        if token is None:
            raise self._error("a value is missing")
        if token.kind == "word" and token.text not in _CONSTANTS:
            self._at += 1
            if token.text not in FUNCTIONS:
                raise self._error(f"the function {token.text} is not defined")
            arguments = []
            while (self._next is not None and self._next.text not in {"|", ")"}) or self._is_text():
                arguments.append(self._operand())
            if piped is not None:
                arguments.append(piped)
            least, most = FUNCTIONS[token.text]
            if not least <= len(arguments) <= most:
                raise self._error(f"the function {token.text} does not take {len(arguments)} arguments")
            return f"go_{token.text}({', '.join(arguments)})"
        if piped is not None:
            raise self._error(f"{token.text} is no function that could take what stands before |")
        return self._operand()

    def _is_text(self) -> bool:
        return self._next is not None and self._next.kind == "string"

    def _operand(self) -> str:
        token = self._next
        assert token is not None
        self._at += 1
        match token.kind:
            case "dot":
                return "dot"
            case "field":
                return self._fields("dot", token.text)
            case "variable" if token.text == "$":
                return self._with_fields("root")
            case "string":
                return json.dumps(token.text, ensure_ascii=False)
            case "number":
                return token.text.lstrip("+")
            case "word" if token.text in _CONSTANTS:
                return _CONSTANTS[token.text]
            case "word" if token.text in FUNCTIONS:  # without parentheses a function takes no arguments here
                raise self._error(f"({token.text} ...) needs its parentheses")
            case "sign" if token.text == "(":
                inner = self.pipeline()
                if not self._take("sign", ")"):
                    raise self._error("a parenthesis is not closed")
                return self._with_fields(f"({inner})")
        raise self._error(f"{token.text} is not supported in templates here")

    def _with_fields(self, value: str) -> str:
        token = self._next
        if token is not None and token.kind == "field":
            self._at += 1
            return self._fields(value, token.text)
        return value

    @staticmethod
    def _fields(value: str, path: str) -> str:
        names = ", ".join(json.dumps(name) for name in path[1:].split("."))
        return f"go_field({value}, {names})"

    @property
    def _next(self) -> Token | None:
        return self._found[self._at] if self._at < len(self._found) else None

    def _take(self, kind: str, text: str) -> bool:
        if self._next == Token(kind, text):
            self._at += 1
            return True
        return False

    def _error(self, problem: str) -> TemplateError:
        return TemplateError(problem, self._line)
