"""Go template -> Jinja2 template with delimiters that no mail holds. Pure.

Supported: values and pipelines, ``if`` / ``else if`` / ``else``, ``with``, ``range``, ``end``, comments, trim markers and the
functions of ``expressions``. What is not (variables, ``define``, ``template``, ``block``) is an error that names its line.
"""

from __future__ import annotations

from isobase_services.auth.messages.templates.expressions import expression
from isobase_services.auth.messages.templates.lexer import Action, TemplateError, Text, Token, pieces, tokens
from isobase_services.auth.messages.templates.places import Place, place_after

__all__ = ["BLOCK", "COMMENT", "VALUE", "translate"]

BLOCK = ("\x02%", "%\x03")
VALUE = ("\x02=", "=\x03")
COMMENT = ("\x02#", "#\x03")
"""The delimiters: a template that holds these control characters itself is refused."""
_UNSUPPORTED = frozenset({"define", "template", "block", "break", "continue"})
_ENDS = {"if": "endif", "with": "endif", "range": "endfor"}


def translate(source: str, *, is_html: bool) -> str:
    """The Jinja2 template of a Go template. ``is_html``: values are escaped for where they stand; else they are plain text.

    Raises ``TemplateError``.
    """
    if "\x02" in source or "\x03" in source:
        raise TemplateError("control characters are not allowed", 1)
    translator = _Translator(is_html=is_html)
    for piece in pieces(source):
        if isinstance(piece, Text):
            translator.text(piece.text)
        else:
            translator.action(piece)
    return translator.finished()


class _Translator:
    def __init__(self, *, is_html: bool) -> None:
        self._is_html = is_html
        self._parts: list[str] = []
        self._html = ""
        self._open: list[tuple[str, Action]] = []

    def text(self, text: str) -> None:
        self._parts.append(text)
        self._html += text

    def action(self, action: Action) -> None:
        found = tokens(action)
        if not found:
            raise TemplateError("an action is empty", action.line)
        keyword = found[0].text if found[0].kind == "word" else ""
        if keyword in _UNSUPPORTED or any(one.kind == "variable" and one.text != "$" for one in found):
            what = "variables are" if keyword not in _UNSUPPORTED else f"{keyword} is"
            raise TemplateError(f"{what} not supported in templates here", action.line)
        if keyword in _ENDS:
            self._begin(keyword, expression(found[1:], action.line), action)
        elif keyword == "else":
            self._else(found[1:], action)
        elif keyword == "end":
            self._end(found, action)
        else:
            self._value(expression(found, action.line), action)

    def finished(self) -> str:
        if self._open:
            keyword, action = self._open[-1]
            raise TemplateError(f"{keyword} has no end", action.line)
        return "".join(self._parts)

    def _begin(self, keyword: str, condition: str, action: Action) -> None:
        self._open.append((keyword, action))
        if keyword == "range":
            self._block(f"for dot in go_items({condition})")
            return
        self._block(f"if {condition}")
        if keyword == "with":
            self._block(f"with dot = {condition}")

    def _else(self, found: list[Token], action: Action) -> None:
        if not self._open:
            raise TemplateError("else without if", action.line)
        keyword, began = self._open[-1]
        if keyword.startswith("else of"):
            raise TemplateError("a second else", action.line)
        if keyword == "with":
            self._block("endwith")
        if not found:
            self._block("else")
            self._open[-1] = (f"else of {keyword}", began)
        elif found[0] == Token("word", "if") and keyword == "if":
            self._block(f"elif {expression(found[1:], action.line)}")
        else:
            raise TemplateError("only {{ else }} and {{ else if ... }} are supported", action.line)

    def _end(self, found: list[Token], action: Action) -> None:
        if not self._open or len(found) > 1:
            raise TemplateError("end without a beginning", action.line)
        keyword, _ = self._open.pop()
        if keyword == "with":
            self._block("endwith")
        self._block(_ENDS[keyword.removeprefix("else of ")])

    def _value(self, value: str, action: Action) -> None:
        if self._is_html:
            place = place_after(self._html)
            if place is Place.FORBIDDEN:
                raise TemplateError("a value must not stand in a script or among the words of a tag", action.line)
            if place is not Place.TEXT:
                value = f"{value} | {place.name.lower()}"
        self._parts.append(f"{VALUE[0]} {value} {VALUE[1]}")
        # So that what follows in an attribute knows that it does not begin there.
        self._html += "x"

    def _block(self, inside: str) -> None:
        self._parts.append(f"{BLOCK[0]} {inside} {BLOCK[1]}")
