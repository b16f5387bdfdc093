"""One source rendered with libvips, from bytes to bytes. Runs in a worker process only: sources are foreign bytes.

The order is upstream's renderer's: shrink while decoding, colours, scale, upright, cut, flatten, sRGB, save without metadata.
Each loader is called by its name after the source's first bytes were looked at, so that no other of libvips's loaders is in
reach. Where upstream decodes what is left of a truncated source, it is refused here.
Source: imgproxy 3.26 ``processing``, ``vips/vips.c`` (facts and figures).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pyvips

from isobase_services.storage.render.formats import (
    AVIF_MIN_DIMENSION,
    SNIFF_BYTES,
    ImageFormat,
    OutputWish,
    output_format,
    sniff,
)
from isobase_services.storage.render.geometry import Box, Scale, crop_to, rounded, scale_to, turned
from isobase_services.storage.render.job import Job, Refusal
from isobase_services.storage.render.svg import SvgRefused, sanitize_svg

__all__ = ["Refused", "prepare_libvips", "render"]

_RGB = frozenset({"srgb", "scrgb", "rgb16"})
_WHITE = [255, 255, 255]
_DEFAULT_DELAY_MS = 40
_MIN_SVG_SCALE = 0.001
_FULLY_READ = "truncated"
"""libvips stops at a source that ends too early; smaller faults are read over."""


class Refused(Exception):
    """The source cannot be rendered; ``reason`` says why."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True, frozen=True)
class _Source:
    content: bytes
    format: ImageFormat

    def load(self, *, shrink: int = 1, scale: float = 1.0, frames: int = 1) -> pyvips.Image:
        """Open it: header now, pixels when asked for. ``shrink`` (JPEG) and ``scale`` (WebP, SVG) are done in decoding."""
        common = {"access": "sequential", "fail_on": _FULLY_READ}
        if self.format is ImageFormat.JPEG:
            return pyvips.Image.jpegload_buffer(self.content, shrink=shrink, **common)
        if self.format is ImageFormat.PNG:
            return pyvips.Image.pngload_buffer(self.content, **common)
        if self.format is ImageFormat.GIF:
            return pyvips.Image.gifload_buffer(self.content, n=frames, **common)
        if self.format is ImageFormat.WEBP:
            return pyvips.Image.webpload_buffer(self.content, n=frames, scale=scale, **common)
        if self.format is ImageFormat.AVIF:
            return pyvips.Image.heifload_buffer(self.content, **common)
        if self.format is ImageFormat.TIFF:
            # A strip that cannot be read counts as an error to its decoder, not as an early end.
            return pyvips.Image.tiffload_buffer(self.content, access="sequential", fail_on="error")
        return pyvips.Image.svgload_buffer(self.content, scale=max(scale, _MIN_SVG_SCALE), **common)


def prepare_libvips() -> None:
    """Set libvips up for foreign bytes: one thread, no cache, and of the loaders that it calls untrusted only SVG's."""
    pyvips.cache_set_max(0)
    pyvips.cache_set_max_mem(0)
    pyvips.concurrency_set(1)
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoadSvg", False)


def render(content: bytes, job: Job) -> tuple[bytes, ImageFormat]:
    """The rendered image and its format. Raises ``Refused``; what libvips raises is the source's fault too."""
    format_ = sniff(content[:SNIFF_BYTES])
    if format_ is None:
        raise Refused(Refusal.UNSUPPORTED)
    wish = OutputWish(job.named_format, job.prefers_webp, job.prefers_avif)
    if format_ is ImageFormat.SVG:
        try:
            content = sanitize_svg(content)
        except SvgRefused as refused:
            raise Refused(Refusal.UNSUPPORTED) from refused
        if output_format(format_, wish, is_animated=False, has_alpha=True) is ImageFormat.SVG:
            return content, ImageFormat.SVG
    try:
        return _render_pixels(_Source(content, format_), job, wish)
    except pyvips.Error as error:
        raise Refused(Refusal.UNSUPPORTED) from error


def _render_pixels(source: _Source, job: Job, wish: OutputWish) -> tuple[bytes, ImageFormat]:
    first = source.load()
    if source.format is not ImageFormat.SVG and first.width * first.height > job.max_pixels:
        raise Refused(Refusal.TOO_MANY_PIXELS)
    frames = min(_frames(first), job.max_frames) if source.format.is_animatable else 1
    is_animated = frames > 1
    output = output_format(source.format, wish, is_animated=is_animated, has_alpha=first.hasalpha())
    if is_animated and output.is_animatable:
        image = _animated(source, first, frames, job)
    else:
        image = _still(source, first, job)
        if not output.has_alpha and image.hasalpha():
            image = image.flatten(background=_WHITE)
    image = _to_srgb(image)
    if output is ImageFormat.AVIF and min(image.width, image.height) < AVIF_MIN_DIMENSION:
        output = ImageFormat.PNG if image.hasalpha() else ImageFormat.JPEG
    return _saved(image, output, job), output


def _still(source: _Source, first: pyvips.Image, job: Job) -> pyvips.Image:
    orientation = first.get("orientation") if first.get_typeof("orientation") else 1
    angle, is_mirrored = turned(orientation)
    width, height = _upright(first, angle)
    is_vector = source.format is ImageFormat.SVG
    scale = scale_to(width, height, Box(job.width, job.height, job.resize), may_enlarge=is_vector)
    if is_vector:
        scale = _within(width, height, scale, job.max_pixels)
    image = _shrunk_on_load(source, first, width, height, scale)
    loaded_width, loaded_height = _upright(image, angle)
    return _transformed(
        image,
        # The target is a whole number of the original's pixels; what decoding left over is scaled to just that.
        Scale(
            max(rounded(width * scale.x), 1) / loaded_width,
            max(rounded(height * scale.y), 1) / loaded_height,
        ),
        angle,
        is_mirrored,
        job,
    )


def _shrunk_on_load(source: _Source, first: pyvips.Image, width: int, height: int, scale: Scale) -> pyvips.Image:
    """The image decoded at a size near the one that is wanted, where its format can: fewer pixels to hold and to scale."""
    target_width, target_height = max(rounded(width * scale.x), 1), max(rounded(height * scale.y), 1)
    least = min(width / target_width, height / target_height)
    if source.format is ImageFormat.SVG and least != 1:
        return source.load(scale=1 / least)
    if source.format is ImageFormat.JPEG and least >= 2:
        return source.load(shrink=8 if least >= 8 else 4 if least >= 4 else 2)
    if source.format is ImageFormat.WEBP and least > 1:
        return source.load(scale=1 / least)
    return first


def _within(width: int, height: int, scale: Scale, max_pixels: int) -> Scale:
    """A vector image has any size, so it is cut down instead of refused."""
    pixels = width * scale.x * height * scale.y
    factor = min(1.0, (max_pixels / pixels) ** 0.5) if pixels > 0 else 1.0
    return Scale(scale.x * factor, scale.y * factor)


def _animated(source: _Source, first: pyvips.Image, frames: int, job: Job) -> pyvips.Image:
    if first.width * first.height * frames > job.max_pixels:
        raise Refused(Refusal.TOO_MANY_PIXELS)
    strip = source.load(frames=frames)
    frame_height = strip.get("page-height")
    scale = scale_to(strip.width, frame_height, Box(job.width, job.height, job.resize), may_enlarge=False)
    done = []
    for number in range(strip.height // frame_height):
        frame = strip.crop(0, number * frame_height, strip.width, frame_height)
        target = Scale(
            max(rounded(strip.width * scale.x), 1) / strip.width,
            max(rounded(frame_height * scale.y), 1) / frame_height,
        )
        # Frames come in order from a decoder that cannot go back, so each is finished before the next is begun.
        done.append(_transformed(frame, target, 0, False, job).copy_memory())
    joined = pyvips.Image.arrayjoin(done, across=1)
    delays = strip.get("delay") if strip.get_typeof("delay") else [_DEFAULT_DELAY_MS] * len(done)
    loop = strip.get("loop") if strip.get_typeof("loop") else 0
    joined = joined.copy()
    joined.set_type(pyvips.GValue.gint_type, "page-height", done[0].height)
    joined.set_type(pyvips.GValue.array_int_type, "delay", list(delays)[: len(done)])
    joined.set_type(pyvips.GValue.gint_type, "loop", loop)
    joined.set_type(pyvips.GValue.gint_type, "n-pages", len(done))
    return joined


def _transformed(image: pyvips.Image, scale: Scale, angle: int, is_mirrored: bool, job: Job) -> pyvips.Image:
    """Colours, scale, upright, cut. ``scale`` is meant for the upright image."""
    image = _to_rgb(image)
    if scale.x != 1 or scale.y != 1:
        across, down = (scale.y, scale.x) if angle % 180 else (scale.x, scale.y)
        image = _resized(image, across, down)
    if angle or is_mirrored:
        image = image.copy_memory()  # turning needs every line at once
        if angle:
            image = image.rot(f"d{angle}")
        if is_mirrored:
            image = image.fliphor()
        image = image.copy()
        image.remove("orientation")  # AVIF would be turned by it once more
    crop = crop_to(
        image.width,
        image.height,
        Box(job.width, job.height, job.resize),
        job.gravity,
        job.x_offset,
        job.y_offset,
    )
    if crop is None:
        return image
    if crop.left is None or crop.top is None:
        return image.copy_memory().smartcrop(crop.width, crop.height)
    return image.crop(crop.left, crop.top, crop.width, crop.height)


def _resized(image: pyvips.Image, across: float, down: float) -> pyvips.Image:
    if not image.hasalpha():
        return image.resize(across, vscale=down)
    # Transparent pixels must not lend their colour to their neighbours.
    format_ = image.format
    return image.premultiply().cast(format_).resize(across, vscale=down).unpremultiply().cast(format_)


def _to_rgb(image: pyvips.Image) -> pyvips.Image:
    """The image in RGB of 8 bits: grey, CMYK, Lab and deeper ones are turned into it, by their profile if they have one."""
    if image.coding == "rad":
        image = image.rad2float()
    if image.interpretation not in _RGB:
        image = _through_profile(image)
    return image if image.interpretation == "srgb" else image.colourspace("srgb")


def _to_srgb(image: pyvips.Image) -> pyvips.Image:
    """RGB of a profile's own in sRGB; the profile goes with the other metadata."""
    image = _through_profile(image)
    return image if image.format == "uchar" else image.cast("uchar")


def _through_profile(image: pyvips.Image) -> pyvips.Image:
    if not image.get_typeof("icc-profile-data") or image.format not in {"uchar", "ushort"}:
        return image
    # A profile that is broken or of another space says nothing; colours stay as they are.
    with contextlib.suppress(pyvips.Error):
        image = image.icc_transform("srgb", embedded=True)
    image = image.copy()
    image.remove("icc-profile-data")
    return image


def _saved(image: pyvips.Image, output: ImageFormat, job: Job) -> bytes:
    """The file. EXIF with its places and cameras, XMP, profiles and comments stay behind; frames and their times do not."""
    if output is ImageFormat.JPEG:
        content = image.jpegsave_buffer(keep="none", Q=job.jpeg_quality, optimize_coding=True)
    elif output is ImageFormat.PNG:
        content = image.pngsave_buffer(keep="none", **_png_options(image))
    elif output is ImageFormat.GIF:
        content = image.gifsave_buffer(keep="none")
    elif output is ImageFormat.WEBP:
        content = image.webpsave_buffer(keep="none", Q=job.webp_quality)
    else:
        content = image.heifsave_buffer(keep="none", Q=job.avif_quality, compression="av1", effort=0)
    return bytes(content)


def _png_options(image: pyvips.Image) -> dict[str, object]:
    """An image that came with a palette gets one again."""
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 8
    if image.get_typeof("palette") and image.get("palette") and bits <= 8:
        return {"palette": True, "bitdepth": 8 if bits > 4 else 4 if bits > 2 else bits}
    return {"filter": "all"}


def _frames(image: pyvips.Image) -> int:
    has_frames = image.get_typeof("n-pages") and image.get_typeof("delay")
    return int(image.get("n-pages")) if has_frames else 1


def _upright(image: pyvips.Image, angle: int) -> tuple[int, int]:
    return (image.height, image.width) if angle % 180 else (image.width, image.height)
