"""Where in the HTML a value is put: what is harmless in a paragraph is not in a link, a style or a tag's own words.

Source: Go's html/template, which upstream renders mail with: its contexts, as far as mail needs them.
"""

from __future__ import annotations

import re
from enum import Enum

__all__ = ["Place", "place_after"]

_ATTRIBUTE = re.compile(
    r"""(?P<name>[^\s"'<>/=]+)\s*=\s*(?:"(?P<double>[^"]*)|'(?P<single>[^']*)|(?P<bare>[^\s"'>]*))\Z"""
)
_WHOLE_VALUE = re.compile(r"""=\s*(?:"[^"]*"|'[^']*')""")
_VALUE_IN_TAG = re.compile(r"""(<[A-Za-z][^<>]*=\s*)(?:"[^"]+"|'[^']+')""")
_LINKS = frozenset({"href", "src", "action", "formaction", "poster", "background", "cite", "longdesc", "data"})


class Place(Enum):
    """What kind of escaping a value needs."""

    TEXT = "text"
    """Between tags, or inside a quoted attribute: HTML's own escaping."""
    LINK = "link"
    """At the beginning of a link: it must not be a script, and stays a link."""
    LINK_PART = "link part"
    """Further on in a link, before its query."""
    QUERY = "query"
    """In the query or the fragment of a link: a value, percent-encoded."""
    STYLE = "style"
    """In a style: plain words and numbers only."""
    UNQUOTED = "unquoted"
    """An attribute without quotation marks."""
    FORBIDDEN = "forbidden"
    """Inside a script, an event handler, or a tag's own words."""


def place_after(text: str) -> Place:
    """Where a value would stand behind ``text``, which is all the HTML before it."""
    if text.rfind("<!--") > text.rfind("-->"):
        return Place.TEXT
    text = _without_values(text)
    lowered = text.lower()
    if lowered.rfind("<script") > lowered.rfind("</script"):
        return Place.FORBIDDEN
    opened = text.rfind("<")
    if opened > text.rfind(">") and not text[opened:].startswith("<!--"):
        return _place_in_tag(text[opened:])
    if lowered.rfind("<style") > lowered.rfind("</style"):
        return Place.STYLE
    return Place.TEXT


def _without_values(text: str) -> str:
    """``text`` without the quoted values of tags: an angle bracket in one is none."""
    while True:
        shorter = _VALUE_IN_TAG.sub(r'\1""', text)
        if shorter == text:
            return text
        text = shorter


def _place_in_tag(tag: str) -> Place:
    # Whole attributes go first, so that the last quotation mark of one is not taken for the first of another.
    match = _ATTRIBUTE.search(_WHOLE_VALUE.sub(" ", tag))
    if match is None:
        return Place.FORBIDDEN
    value = next(one for one in (match["double"], match["single"], match["bare"]) if one is not None)
    return _of_attribute(match["name"].lower(), value, is_quoted=match["bare"] is None)


def _of_attribute(name: str, value: str, *, is_quoted: bool) -> Place:
    if name.startswith("on") or name == "srcdoc":
        return Place.FORBIDDEN
    if name == "style":
        return Place.STYLE
    if name.rpartition(":")[2] in _LINKS:
        if "?" in value or "#" in value:
            return Place.QUERY
        return Place.LINK_PART if value.strip() else Place.LINK
    return Place.TEXT if is_quoted else Place.UNQUOTED
