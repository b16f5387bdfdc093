"""How large the result is and what of the image it shows: upstream's renderer's arithmetic, without a pixel.

An image is scaled so that it covers, fits or takes the box, never enlarged (but for vector images, which lose nothing), and
what is over the box is cut off. A request that names one side only has the default box's other side: ``width=200`` alone
cuts a column out of a 1000 x 1000 image, as upstream does. Roundings decide single pixels and are imgproxy 3.26's
(``processing/prepare.go``, ``calc_position.go``): halves away from zero for lengths, halves to even for positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from isobase_services.storage.render.transform import Gravity, Resize

__all__ = ["Box", "Crop", "Scale", "crop_to", "rounded", "scale_to", "turned"]


@dataclass(slots=True, frozen=True)
class Box:
    """Where the image has to go: pixels and how."""

    width: int
    height: int
    resize: Resize


@dataclass(slots=True, frozen=True)
class Scale:
    """Factors for width and height, upright."""

    x: float
    y: float


@dataclass(slots=True, frozen=True)
class Crop:
    """The part that is kept, in pixels; ``left`` and ``top`` are None where the content decides (gravity sm)."""

    left: int | None
    top: int | None
    width: int
    height: int


def rounded(value: float) -> int:
    """To the next whole number, halves away from zero."""
    return math.floor(value + 0.5) if value >= 0 else -math.floor(0.5 - value)


def scale_to(width: int, height: int, box: Box, *, may_enlarge: bool) -> Scale:
    """By what an upright image of ``width`` x ``height`` pixels is scaled for its box."""
    shrink_x, shrink_y = width / box.width, height / box.height
    if shrink_x != 1 or shrink_y != 1:
        if box.resize is Resize.CONTAIN:
            shrink_x = shrink_y = max(shrink_x, shrink_y)
        elif box.resize is Resize.COVER:
            shrink_x = shrink_y = min(shrink_x, shrink_y)
    least = min(shrink_x, shrink_y)
    if not may_enlarge and least < 1:
        shrink_x, shrink_y = shrink_x / least, shrink_y / least
    return Scale(1 / min(shrink_x, width), 1 / min(shrink_y, height))


def crop_to(width: int, height: int, box: Box, gravity: Gravity, x_offset: float, y_offset: float) -> Crop | None:
    """What of a scaled image is kept; None: all of it.

    Offsets below 1 are a share of the image's size, others are pixels; for ``fp`` they are the point to keep.
    """
    kept_width, kept_height = min(box.width, width), min(box.height, height)
    if kept_width >= width and kept_height >= height:
        return None
    if gravity is Gravity.SMART:
        return Crop(None, None, kept_width, kept_height)
    if gravity is Gravity.POINT:
        left = round(width * x_offset) - kept_width // 2
        top = round(height * y_offset) - kept_height // 2
    else:
        left = _position(width, kept_width, gravity, "we", "ea", x_offset)
        top = _position(height, kept_height, gravity, "no", "so", y_offset)
    left = max(0, min(left, width - kept_width))
    top = max(0, min(top, height - kept_height))
    return Crop(left, top, kept_width, kept_height)


def turned(orientation: int) -> tuple[int, bool]:
    """What an EXIF orientation (1 to 8) asks for: degrees clockwise, then whether to mirror left and right."""
    angle = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}.get(orientation, 0)
    return angle, orientation in {2, 4, 5, 7}


def _position(length: int, kept: int, gravity: Gravity, near: str, far: str, offset: float) -> int:
    pixels = round(offset) if abs(offset) >= 1 else round(length * offset)
    if near in _words(gravity):
        return pixels
    if far in _words(gravity):
        return length - kept - pixels
    return round((length - kept + 1) / 2) + pixels


def _words(gravity: Gravity) -> tuple[str, ...]:
    return tuple(gravity.value[at : at + 2] for at in range(0, len(gravity.value), 2))
