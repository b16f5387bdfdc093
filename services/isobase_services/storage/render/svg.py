"""SVG in, harmless SVG out: parsed and written anew, with what could run or reach out left behind.

An SVG is a document of the web: opened by its URL it may run scripts under the API's origin and fetch what it likes. What
is dropped: scripts and elements that hold other documents, event attributes, links to anywhere but inside the file or an
inline raster image (``<a>`` may lead to web pages), styles that import or refer outward, animations of links, processing
instructions, comments. Entities are kept only where they are short texts without entities in them, so nothing can grow.
Upstream's renderer removes scripts, event attributes and outward ``<use>``; this list holds those and more.
"""

from __future__ import annotations

import re
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

__all__ = ["SvgRefused", "sanitize_svg"]

MAX_DEPTH = 256
"""Elements inside elements."""
MAX_ENTITIES = 64
MAX_ENTITY_CHARS = 1024

_DROPPED = frozenset(
    {
        *("script", "handler", "listener"),
        *("iframe", "object", "embed", "applet", "frame", "frameset", "portal"),
        *("base", "meta", "link"),
        *("form", "input", "button", "textarea", "select", "option"),
        *("audio", "video", "source", "track"),
    }
)
_LINKS = frozenset(
    {"href", "src", "action", "formaction", "data", "poster", "srcset", "background", "from", "to", "by"}
)
_ANIMATIONS = frozenset({"set", "animate", "animatetransform", "animatemotion", "animatecolor"})
_WEB = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
_INLINE_RASTER = re.compile(r"data:image/(?:png|jpe?g|gif|webp|avif)[;,]", re.IGNORECASE)
_CSS_URL = re.compile(r"url\(\s*(?:\"([^\"]*)\"|'([^']*)'|([^)]*))", re.IGNORECASE)
_CSS_ESCAPE = re.compile(r"\\([0-9a-fA-F]{1,6})\s?|\\(.)", re.DOTALL)
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_CSS_REFUSED = re.compile(
    r"@import|@font-face|expression\s*\(|javascript:|-moz-binding|behavior\s*:"
    r"|attr\(|(?:image-set|image|src)\(\s*(?:[\"']|var)",
    re.IGNORECASE,
)
"""With them functions that take an address as a bare string: a drawing has no need of them."""
_IGNORED_IN_LINKS = re.compile(r"[\x00-\x20\x7f-\x9f\u200b-\u200f\u2028\u2029\ufeff]")

_CLOSE_ATTRIBUTES = re.compile(rb"(=\s*(?:\"[^\"<>]*\"|'[^'<>]*'))(?=[A-Za-z_:])")


class SvgRefused(Exception):
    """Not a well-formed SVG, or one that could grow beyond its size."""


def sanitize_svg(source: bytes) -> bytes:
    """The SVG without what could run or reach out, in UTF-8. Raises ``SvgRefused``.

    Attributes that follow one another without a space are taken, as upstream's renderer and browsers (in HTML) take them:
    the files of its clients' own tests have some.
    """
    try:
        return _Sanitizer().run(source)
    except _NotWellFormed:
        spaced = _CLOSE_ATTRIBUTES.sub(rb"\1 ", source)
        if spaced == source:
            raise
        return _Sanitizer().run(spaced)


class _NotWellFormed(SvgRefused):
    """XML's grammar is broken somewhere."""


class _Sanitizer:
    """Copies what expat reads, but for what is dropped. Used once."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._open: list[str] = []
        self._dropped_depth = 0
        self._style: list[str] | None = None
        self._entities = 0
        parser = expat.ParserCreate()
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._entity
        parser.ExternalEntityRefHandler = self._external
        self._parser = parser

    def run(self, source: bytes) -> bytes:
        """The whole of it, once."""
        try:
            self._parser.Parse(source, True)
        except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: an encoding that is none
            raise _NotWellFormed("not well-formed") from error
        return "".join(self._out).encode("utf-8", "replace")

    def _entity(
        self,
        name: str,
        is_parameter: bool,
        value: str | None,
        base: str | None,
        system: str | None,
        public: str | None,
        notation: str | None,
    ) -> None:
        self._entities += 1
        if value is None or is_parameter or "&" in value or "%" in value or "<" in value:
            raise SvgRefused("an entity that is more than a text")
        if len(value) > MAX_ENTITY_CHARS or self._entities > MAX_ENTITIES:
            raise SvgRefused("too many or too long entities")

    def _external(self, context: str | None, base: str | None, system: str | None, public: str | None) -> int:
        raise SvgRefused("an external entity")

    def _start(self, name: str, attributes: list[str]) -> None:
        local = _local(name)
        if not self._open and not self._dropped_depth and local != "svg":
            raise SvgRefused("not an svg element")
        # An element inside a style would split its text into parts that mean nothing alone.
        is_in_style = self._style is not None
        if self._dropped_depth or is_in_style or local in _DROPPED or _drops_as_animation(local, attributes):
            self._dropped_depth += 1
            return
        if len(self._open) >= MAX_DEPTH:
            raise SvgRefused("too deep")
        self._open.append(name)
        self._out.append(f"<{name}")
        for at in range(0, len(attributes), 2):
            if _may_stay(local, attributes[at], attributes[at + 1]):
                self._out.append(f" {attributes[at]}={quoteattr(attributes[at + 1])}")
        self._out.append(">")
        if local == "style":
            self._style = []

    def _end(self, name: str) -> None:
        if self._dropped_depth:
            self._dropped_depth -= 1
            return
        if self._style is not None:
            style, self._style = "".join(self._style), None
            if _is_inward_style(style):
                self._out.append(escape(style))
        self._open.pop()
        self._out.append(f"</{name}>")

    def _text(self, text: str) -> None:
        if self._dropped_depth or not self._open:
            return
        if self._style is not None:
            self._style.append(text)
        else:
            self._out.append(escape(text))


def _local(name: str) -> str:
    """The name without a namespace's prefix: renderers look at that."""
    return name.rpartition(":")[2].lower()


def _drops_as_animation(local: str, attributes: list[str]) -> bool:
    """An animation can set a link or an event attribute that could not stand there itself."""
    if local not in _ANIMATIONS:
        return False
    names = (attributes[at + 1] for at in range(0, len(attributes), 2) if _local(attributes[at]) == "attributename")
    return any(_local(name.strip()) in _LINKS or _local(name.strip()).startswith("on") for name in names)


def _may_stay(element: str, name: str, value: str) -> bool:
    local = _local(name)
    if name == "xmlns" or name.startswith("xmlns:"):
        return True
    if local.startswith("on") or name.lower() == "xml:base" or local == "srcdoc":
        return False
    if local in _LINKS and not (element in _ANIMATIONS and local in {"from", "to", "by"}):
        return _is_inward_link(element, value)
    return _is_inward_style(value)


def _is_inward_link(element: str, value: str) -> bool:
    link = _IGNORED_IN_LINKS.sub("", value)
    if not link or link.startswith("#") or _INLINE_RASTER.match(link):
        return True
    return element == "a" and _WEB.match(link) is not None


def _is_inward_style(text: str) -> bool:
    """Whether a style, or an attribute that may be one, refers to nothing outside the file."""
    if "(" not in text and "@" not in text and "\\" not in text and ":" not in text:
        return True
    # What looks like a comment may stand in a string, where it hides nothing: both readings have to be harmless.
    return all(_is_inward_css(_CSS_ESCAPE.sub(_unescaped, reading)) for reading in (text, _CSS_COMMENT.sub("", text)))


def _is_inward_css(plain: str) -> bool:
    if _CSS_REFUSED.search(plain):
        return False
    for match in _CSS_URL.finditer(plain):
        target = _IGNORED_IN_LINKS.sub("", next(group for group in match.groups() if group is not None).strip("\"'"))
        if target and not target.startswith("#") and not _INLINE_RASTER.match(target):
            return False
    return True


def _unescaped(match: re.Match[str]) -> str:
    if match[1] is None:
        return match[2]
    code = int(match[1], 16)
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
