"""The plain text of a mail whose project wrote HTML only: what a reader sees, links in full."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import unquote

__all__ = ["text_of_html"]

_BREAKS = frozenset({"br", "div", "table", "tr", "ul", "ol", "section", "header", "footer", "blockquote", "pre", "hr"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6"})
_UNSEEN = frozenset({"script", "style", "title"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_HIDING = re.compile(r"(?:^|;)\s*display\s*:\s*none\b", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\f\v\n]+")


def text_of_html(html: str) -> str:
    """The text with a line for each block, list items with a dash, and each link's address behind its words."""
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
    except AssertionError:  # how this parser says that a declaration is broken: what was read before it must do
        reader.found.append("\n")
    lines = [_SPACES.sub(" ", line).strip() for line in "".join(reader.found).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._unseen: list[str] = []
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self._unseen or tag in _UNSEEN or _is_hidden(given):
            if tag not in _VOID:
                self._unseen.append(tag)
        elif tag in _PARAGRAPHS:
            self.found.append("\n\n")
        elif tag in _BREAKS:
            self.found.append("\n")
        elif tag == "li":
            self.found.append("\n- ")
        elif tag == "a":
            self._links.append((given.get("href") or "", len(self.found)))
        elif tag == "img" and (words := given.get("alt")):
            self.found.append(words)

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if tag in self._unseen:  # with what was left open inside it
                while self._unseen.pop() != tag:
                    pass
        elif tag in _PARAGRAPHS:
            self.found.append("\n\n")
        elif tag in _BREAKS:
            self.found.append("\n")
        elif tag in {"td", "th"}:
            self.found.append(" ")
        elif tag == "a" and self._links:
            address, start = self._links.pop()
            words = "".join(self.found[start:]).strip()
            if address and unquote(address) != unquote(words) and not address.startswith("#"):
                self.found.append(f":\n{address}\n" if words else f"{address}\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.found.append(_SPACES.sub(" ", data))


def _is_hidden(attributes: Mapping[str, str | None]) -> bool:
    """Such as the preview text that many templates begin with, padded by a page of invisible characters."""
    return "hidden" in attributes or _HIDING.search(attributes.get("style") or "") is not None
