"""Which format a source has, by its bytes, and which one its rendering gets.

The name and the declared type of an object are the uploader's words and are not asked. Source: imgproxy 3.26's rules
(``imagemeta``, ``processing.findBestFormat``) with the preferred formats jpeg, png, gif.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["SNIFF_BYTES", "ImageFormat", "OutputWish", "output_format", "sniff"]

SNIFF_BYTES = 32 * 1024
"""How much of the source's beginning is looked at."""
AVIF_MIN_DIMENSION = 16
"""A smaller image (pixels) is not saved as AVIF."""
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_BOM = b"\xef\xbb\xbf"
_SVG_ROOT = re.compile(rb"<(?:svg:)?svg[\s/>:]", re.IGNORECASE)
_XML_PROLOGUE = re.compile(
    rb"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>\s*)*", re.DOTALL | re.IGNORECASE
)


class ImageFormat(StrEnum):
    """A format that is read or written; the value is its media type."""

    JPEG = "image/jpeg"
    PNG = "image/png"
    GIF = "image/gif"
    WEBP = "image/webp"
    AVIF = "image/avif"
    TIFF = "image/tiff"
    SVG = "image/svg+xml"

    @property
    def is_animatable(self) -> bool:
        """Whether it can hold frames."""
        return self in {ImageFormat.GIF, ImageFormat.WEBP}

    @property
    def has_alpha(self) -> bool:
        """Whether it can hold transparency."""
        return self is not ImageFormat.JPEG


@dataclass(slots=True, frozen=True)
class OutputWish:
    """The format that the request names (None: any), and those that the client accepts if it may choose."""

    named: ImageFormat | None
    prefers_webp: bool
    prefers_avif: bool


def sniff(head: bytes) -> ImageFormat | None:
    """The format of a source that begins with ``head`` (``SNIFF_BYTES`` of it); None for what is not read here."""
    if head.startswith(b"\xff\xd8\xff"):
        return ImageFormat.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageFormat.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ImageFormat.GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if head.startswith((b"II*\0", b"MM\0*")):
        return ImageFormat.TIFF
    if head[4:8] == b"ftyp":
        return ImageFormat.AVIF if _brands(head) & _AVIF_BRANDS else None
    return ImageFormat.SVG if _is_svg(head) else None


def output_format(source: ImageFormat, wish: OutputWish, *, is_animated: bool, has_alpha: bool) -> ImageFormat:
    """What the rendering is saved as. An SVG stays one unless the request names a format."""
    if wish.named is not None:
        return wish.named
    if source is ImageFormat.SVG:
        return source
    if wish.prefers_avif and not is_animated:
        return ImageFormat.AVIF
    if wish.prefers_webp:
        return ImageFormat.WEBP
    if source in {ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.GIF}:
        return source
    if is_animated:
        return ImageFormat.GIF
    return ImageFormat.PNG if has_alpha else ImageFormat.JPEG


def _brands(head: bytes) -> set[bytes]:
    """The brands of an ISO media file's first box: what it says that it can be read as."""
    size = min(int.from_bytes(head[:4], "big"), 512, len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}


def _is_svg(head: bytes) -> bool:
    """Whether the first element of what looks like XML is an ``svg``."""
    text = head.removeprefix(_BOM)
    if text.lstrip()[:1] != b"<":
        return False
    prologue = _XML_PROLOGUE.match(text)
    return _SVG_ROOT.match(text, prologue.end() if prologue else 0) is not None
