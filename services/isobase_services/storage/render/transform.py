"""What a request for an image asks for, as a value, and the two texts it is written in.

``X-Transformations`` names what is applied in the words of upstream's renderer; a signed URL's token holds the same in the
words of the request. Source: contracts/storage.md 1.3; upstream ``src/storage/renderer/image.ts`` (``applyTransformation``,
``setTransformationsFromString``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

__all__ = ["FocalPointOutside", "Format", "Gravity", "Resize", "Transform"]

_LEADING_INTEGER = re.compile(r"\s*([+-]?\d{1,15})", re.ASCII)
_LEADING_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)", re.ASCII)


class Gravity(StrEnum):
    """Which part is kept where something is cut off: a direction, the middle, the interesting (sm), a point (fp)."""

    NORTH = "no"
    SOUTH = "so"
    EAST = "ea"
    WEST = "we"
    NORTH_EAST = "noea"
    NORTH_WEST = "nowe"
    SOUTH_EAST = "soea"
    SOUTH_WEST = "sowe"
    CENTER = "ce"
    SMART = "sm"
    POINT = "fp"


class Resize(StrEnum):
    """How an image fits into its box."""

    COVER = "cover"
    """Fill the box and cut off what is over."""
    CONTAIN = "contain"
    """Fit into the box whole."""
    FILL = "fill"
    """Take the box's shape."""


class Format(StrEnum):
    """What the caller says of the result's format."""

    ORIGIN = "origin"
    WEBP = "webp"
    AVIF = "avif"


_APPLIED_WORD = {Resize.COVER: "fill", Resize.CONTAIN: "fit", Resize.FILL: "force"}


class FocalPointOutside(Exception):
    """A focal point without both coordinates, or with one outside 0 to 1."""


@dataclass(slots=True, frozen=True)
class Transform:
    """The options of one request; None is what it does not say. Width and height are pixels, 0 is none."""

    width: int | None = None
    height: int | None = None
    resize: Resize | None = None
    quality: int | None = None
    format: Format | None = None
    gravity: Gravity | None = None
    x_offset: float | int | None = None
    y_offset: float | int | None = None

    @classmethod
    def from_values(cls, values: Mapping[str, object], *, max_dimension: int) -> Transform:
        """From checked members of a query or a body; lengths are cut to ``max_dimension`` pixels."""

        def integer(name: str) -> int | None:
            value = values.get(name)
            return value if isinstance(value, int) else None

        def number(name: str) -> float | int | None:
            value = values.get(name)
            return value if isinstance(value, int | float) else None

        def text(name: str) -> str | None:
            value = values.get(name)
            return value if isinstance(value, str) else None

        resize, format_, gravity = text("resize"), text("format"), text("gravity")
        return cls(
            width=_cut(integer("width"), max_dimension),
            height=_cut(integer("height"), max_dimension),
            resize=Resize(resize) if resize else None,
            quality=integer("quality"),
            format=Format(format_) if format_ else None,
            gravity=Gravity(gravity) if gravity else None,
            x_offset=number("x_offset"),
            y_offset=number("y_offset"),
        )

    @classmethod
    def from_token(cls, text: str, format_claim: str | None, *, max_dimension: int) -> Transform:
        """From a signed URL's token. What this version does not know means nothing, as upstream reads it.

        ``format_claim``: the token's second word on the format, the only one that can say ``origin``.
        """
        found = cls()
        for part in text.split(","):
            name, _, rest = part.partition(":")
            value, *offsets = rest.split(":") if rest else [""]
            if not value:
                continue
            if name in {"width", "height"}:
                length = _cut(_leading_integer(value), max_dimension)
                found = replace(found, width=length) if name == "width" else replace(found, height=length)
            elif name == "quality":
                quality = _leading_integer(value)
                found = replace(found, quality=min(max(quality, 1), 100) if quality else None)
            elif name == "resize":
                found = replace(found, resize=Resize(value) if value in set(Resize) else None)
            elif name == "format":
                found = replace(found, format=Format(value) if value in set(Format) else None)
            elif name == "gravity" and value in set(Gravity):
                x, y = (_leading_number(offset) for offset in (*offsets, "", "")[:2])
                found = replace(found, gravity=Gravity(value), x_offset=x, y_offset=y)
        if found.format is None and format_claim == Format.ORIGIN:
            found = replace(found, format=Format.ORIGIN)
        return found

    def applied(self) -> str:
        """The value of ``X-Transformations``; empty where nothing is asked for. Raises ``FocalPointOutside``."""
        resize = f"resizing_type:{_APPLIED_WORD[self.resize or Resize.COVER]}"
        return ",".join(self._segments(resize))

    def for_token(self) -> str:
        """The ``transformations`` of a signed URL's token; empty where nothing is asked for. Raises ``FocalPointOutside``."""
        return ",".join(self._segments(f"resize:{self.resize or Resize.COVER}"))

    def _segments(self, resize: str) -> list[str]:
        segments = []
        if self.height:
            segments.append(f"height:{self.height}")
        if self.width:
            segments.append(f"width:{self.width}")
        if self.width or self.height:
            segments.append(resize)
        if self.quality:
            segments.append(f"quality:{self.quality}")
        if self.format not in {None, Format.ORIGIN}:
            segments.append(f"format:{self.format}")
        if self.gravity is not None:
            segments.append(self._gravity_segment(self.gravity))
        return segments

    def _gravity_segment(self, gravity: Gravity) -> str:
        if gravity is Gravity.SMART:
            return "gravity:sm"
        x, y = self.x_offset, self.y_offset
        if gravity is Gravity.POINT:
            if x is None or y is None or not 0 <= x <= 1 or not 0 <= y <= 1:
                raise FocalPointOutside
        elif x is None and y is None:
            return f"gravity:{gravity}"
        return f"gravity:{gravity}:{_number_text(x or 0)}:{_number_text(y or 0)}"


def _cut(length: int | None, max_dimension: int) -> int | None:
    """0 is none; everything else becomes 1 to ``max_dimension``."""
    return min(max(length, 1), max_dimension) if length else None


def _leading_integer(text: str) -> int | None:
    match = _LEADING_INTEGER.match(text)
    return int(match[1]) if match else None


def _leading_number(text: str) -> float | int | None:
    match = _LEADING_NUMBER.match(text)
    if match is None:
        return None
    number = float(match[1])
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def _number_text(number: float | int) -> str:
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e21 else str(number)
