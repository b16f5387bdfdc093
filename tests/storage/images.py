"""Images made for tests, with libvips; none is kept in the repository."""

from __future__ import annotations

from typing import Any

import pyvips

SVG = (
    b'<svg width="109" height="113" viewBox="0 0 109 113" fill="none" xmlns="http://www.w3.org/2000/svg">'
    b'<path d="M1 1h50v50H1z" fill="#3ecf8e"/></svg>'
)


def picture(width: int, height: int, suffix: str = ".jpg", *, bands: int = 3, **options: Any) -> bytes:
    """A gradient with a grid on it, so that nothing of it compresses to nothing, as a file of the format ``suffix``."""
    return encoded(gradient(width, height, bands), suffix, **options)


def gradient(width: int, height: int, bands: int = 3) -> Any:
    """Red grows to the right, green downwards; a fourth band is opaque on the left half."""
    place = pyvips.Image.xyz(width, height)
    red, green = place[0] * 255 / max(width - 1, 1), place[1] * 255 / max(height - 1, 1)
    image = red.bandjoin([green, (place[0] + place[1]) % 64 * 2])
    if bands == 1:
        return red.cast("uchar").copy(interpretation="b-w")
    if bands == 4:
        image = image.bandjoin((place[0] < width / 2).ifthenelse(255, 0))
    return image.cast("uchar").copy(interpretation="srgb")


def encoded(image: Any, suffix: str, **options: Any) -> bytes:
    """The image as a file."""
    return bytes(image.write_to_buffer(suffix, **options))


def animation(width: int, height: int, frames: int, suffix: str = ".gif") -> bytes:
    """Frames of growing brightness, 100 ms each."""
    step = 255 // frames
    images = [pyvips.Image.black(width, height, bands=3) + number * step for number in range(frames)]
    joined = pyvips.Image.arrayjoin(images, across=1).cast("uchar").copy(interpretation="srgb")
    joined.set_type(pyvips.GValue.gint_type, "page-height", height)
    joined.set_type(pyvips.GValue.array_int_type, "delay", [100] * frames)
    joined.set_type(pyvips.GValue.gint_type, "loop", 0)
    return encoded(joined, suffix)


def opened(content: bytes, options: str = "") -> Any:
    """A file's image."""
    return pyvips.Image.new_from_buffer(content, options)


def pixel(image: Any, x: int, y: int) -> list[int]:
    """One pixel's bands."""
    return [round(value) for value in image.getpoint(x, y)]
