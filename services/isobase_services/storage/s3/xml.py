"""S3's XML: small documents built from strings, and requests read without entities or surprises.

Bodies of requests are bounded before they come here. A document type is refused, so no entity but the five of XML itself
exists. Source: AWS's API reference for the element names; contracts/storage.md 1.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

__all__ = ["XML_TYPE", "Markup", "Node", "XmlError", "element", "optional", "parse", "render"]

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MAX_DEPTH = 16
MAX_NODES = 50_000
"""Elements of one request: a DeleteObjects of 1,000 keys has 3,001, a CompleteMultipartUpload of 10,000 parts 30,001."""
XML_TYPE = "application/xml; charset=utf-8"
"""The Content-Type of every document, as upstream names it."""
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 has no way to write."""
_ENTITIES = {'"': "&quot;", "\r": "&#13;"}


class XmlError(Exception):
    """The text is no XML document that this module takes."""


class Markup(str):
    """XML text that is written down as it is."""

    __slots__ = ()


@dataclass(slots=True)
class Node:
    """One element: its name without namespace, its text, its children in order."""

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def all(self, name: str) -> list[Node]:
        """The children called ``name``."""
        return [child for child in self.children if child.name == name]

    def child_text(self, name: str) -> str | None:
        """The text of the first child called ``name``, or None."""
        return next((child.text for child in self.children if child.name == name), None)


def element(name: str, *content: str | int | Iterable[Markup]) -> Markup:
    """``<name>content</name>``; texts are escaped, markup is not, and a bool is written in lower case."""
    return Markup(f"<{name}>{''.join(map(_written, content))}</{name}>")


def optional(name: str, content: str | int | None) -> Markup:
    """The element, or nothing where the content is None."""
    return Markup("") if content is None else element(name, content)


def _written(content: str | int | Iterable[Markup]) -> str:
    if isinstance(content, Markup):
        return content
    if isinstance(content, bool):
        return "true" if content else "false"
    if isinstance(content, str):
        return escape(_UNWRITABLE.sub("\ufffd", content), _ENTITIES)
    return str(content) if isinstance(content, int) else "".join(content)


def render(root: Markup, *, has_namespace: bool = True) -> bytes:
    """The whole document. ``has_namespace``: the root names S3's, which every document but an error does."""
    text = root.replace(">", f' xmlns="{NAMESPACE}">', 1) if has_namespace else root
    return (_DECLARATION + text).encode()


class _Builder:
    """Collects nodes from expat's events."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._texts: list[list[str]] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_NODES or len(self._open) >= MAX_DEPTH:
            raise XmlError("too many elements")
        node = Node(name.rpartition(" ")[2])
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)
        self._texts.append([])

    def end(self, name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def data(self, text: str) -> None:
        self._texts[-1].append(text)

    def doctype(self, *_: object) -> None:
        raise XmlError("a document type is not taken")


def parse(document: bytes) -> Node:
    """The root of a document. Raises ``XmlError``."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    builder = _Builder()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise XmlError(str(error)) from error
    if builder.root is None:
        raise XmlError("no root element")
    return builder.root
