"""Runs a translated template in Jinja2's sandbox: Go's functions, its way of printing values, and escaping by place.

Values are JSON: a field is looked up in objects only, never an attribute of a Python value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, quote_plus

from isobase_services.auth.messages.templates.translate import BLOCK, COMMENT, VALUE, translate

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment

__all__ = ["CompiledTemplate", "compile_template"]

Value: TypeAlias = object

_URL_RESERVED = "!#$&*+,/:;=?@[]%"
_SCRIPTS = frozenset({"javascript", "vbscript", "data"})
_SCHEME = re.compile(r"[\s\x00-\x20]*([A-Za-z][A-Za-z0-9+.\-\s\x00-\x20]*):")
_PLAIN_STYLE = re.compile(r"[A-Za-z0-9#%.,\- ]*")
_VERB = re.compile(r"%([-+ #0]*\d*(?:\.\d+)?)([a-zA-Z%])")
REFUSED = "#refused"


class CompiledTemplate:
    """A template that is known to be translatable; Jinja2 is loaded with the first mail."""

    def __init__(self, source: str, *, is_html: bool) -> None:
        self._jinja = translate(source, is_html=is_html)
        self._is_html = is_html
        self._template: Template | None = None

    def render(self, values: Mapping[str, Value]) -> str:
        """The text with ``values`` filled in; what is not there is empty."""
        if self._template is None:
            self._template = _environment(self._is_html).from_string(self._jinja)
        return self._template.render(dot=values, root=values)


def compile_template(source: str, *, is_html: bool) -> CompiledTemplate:
    """Translate a Go template. Raises ``TemplateError`` for what is not supported."""
    return CompiledTemplate(source, is_html=is_html)


@cache
def _environment(is_html: bool) -> SandboxedEnvironment:
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        autoescape=is_html,
        block_start_string=BLOCK[0],
        block_end_string=BLOCK[1],
        variable_start_string=VALUE[0],
        variable_end_string=VALUE[1],
        comment_start_string=COMMENT[0],
        comment_end_string=COMMENT[1],
        keep_trailing_newline=True,
        finalize=_printed,
    )
    environment.globals = dict(_GLOBALS)
    environment.filters = {
        "link": _link,
        "link_part": lambda value: quote(_printed(value), safe=_URL_RESERVED),
        "query": lambda value: quote(_printed(value), safe=""),
        "style": lambda value: _printed(value) if _PLAIN_STYLE.fullmatch(_printed(value)) else REFUSED,
        "unquoted": _unquoted,
    }
    return environment


def _printed(value: Value) -> str:
    """A value as Go prints it; text that is escaped already stays so."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(value, ".15g")
    if isinstance(value, Mapping | Sequence):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _link(value: Value) -> str:
    text = _printed(value)
    scheme = _SCHEME.match(text)
    if scheme is not None and re.sub(r"[\s\x00-\x20]", "", scheme[1]).lower() in _SCRIPTS:
        return REFUSED
    return quote(text, safe=_URL_RESERVED)


def _unquoted(value: Value) -> str:
    from markupsafe import Markup

    return Markup("".join(one if one.isalnum() else f"&#{ord(one)};" for one in _printed(value)))  # noqa: S704  escaped here


def _field(value: Value, *names: str) -> Value:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key) if isinstance(key, str) else None
        elif isinstance(value, Sequence) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            return None
    return value


def _items(value: Value) -> Sequence[Value]:
    if isinstance(value, Mapping):
        return [value[name] for name in sorted(value)]
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _ordered(
    compare: Callable[[float, float], bool], alike: Callable[[str, str], bool]
) -> Callable[[Value, Value], bool]:
    def apply(one: Value, other: Value) -> bool:
        if isinstance(one, int | float) and isinstance(other, int | float):
            return compare(one, other)
        return alike(_printed(one), _printed(other))

    return apply


def _printf(pattern: Value, *values: Value) -> str:
    left = list(values)

    def filled(match: re.Match[str]) -> str:
        flags, verb = match[1], match[2]
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        if verb in "dfeg" and isinstance(value, int | float):
            return f"%{flags}{verb}" % value
        if verb == "q":
            return json.dumps(_printed(value), ensure_ascii=False)
        return f"%{flags}s" % _printed(value)

    return _VERB.sub(filled, _printed(pattern))


def _escaped(*values: Value) -> str:
    from markupsafe import escape

    return escape(" ".join(map(_printed, values)))


def _all(*values: Value) -> Value:
    return next((value for value in values if not value), values[-1])


def _any(*values: Value) -> Value:
    return next((value for value in values if value), values[-1])


_GLOBALS: dict[str, Callable[..., Value]] = {
    "go_field": _field,
    "go_index": _index,
    "go_items": _items,
    "go_and": _all,
    "go_or": _any,
    "go_not": lambda value: not value,
    "go_eq": lambda one, *others: any(one == other for other in others),
    "go_ne": lambda one, other: one != other,
    "go_lt": _ordered(lambda a, b: a < b, lambda a, b: a < b),
    "go_le": _ordered(lambda a, b: a <= b, lambda a, b: a <= b),
    "go_gt": _ordered(lambda a, b: a > b, lambda a, b: a > b),
    "go_ge": _ordered(lambda a, b: a >= b, lambda a, b: a >= b),
    "go_len": lambda value: len(value) if isinstance(value, Mapping | Sequence) else 0,
    "go_print": lambda *values: "".join(map(_printed, values)),
    "go_println": lambda *values: " ".join(map(_printed, values)) + "\n",
    "go_printf": _printf,
    "go_html": _escaped,
    "go_urlquery": lambda *values: quote_plus("".join(map(_printed, values))),
}
