"""From what a request asks for to what is done: defaults, the default box, what the client accepts.

Source: upstream's renderer as its command line starts it (a default box of 3000 x 8192, WebP by the Accept header).
"""

from __future__ import annotations

from isobase_platform.config_storage.images import ImageSettings
from isobase_services.storage.render.formats import ImageFormat
from isobase_services.storage.render.job import Job
from isobase_services.storage.render.transform import Format, Gravity, Resize, Transform

__all__ = ["plan"]

_NAMED = {Format.WEBP: ImageFormat.WEBP, Format.AVIF: ImageFormat.AVIF}


def plan(transform: Transform, accept: str, settings: ImageSettings) -> Job:
    """What is to be done. ``accept``: the request's Accept header, which counts where no format is named."""
    may_choose = transform.format is None
    gravity = transform.gravity or Gravity.CENTER
    has_box = bool(transform.width or transform.height)
    return Job(
        width=transform.width or settings.default_width,
        height=transform.height or settings.default_height,
        # Without a length of its own a request is shown whole, in the default box.
        resize=(transform.resize or Resize.COVER) if has_box else Resize.CONTAIN,
        gravity=gravity,
        x_offset=0 if gravity is Gravity.SMART else transform.x_offset or 0,
        y_offset=0 if gravity is Gravity.SMART else transform.y_offset or 0,
        named_format=_NAMED.get(transform.format) if transform.format is not None else None,
        prefers_webp=may_choose and settings.webp_detection and "image/webp" in accept,
        prefers_avif=may_choose and settings.avif_detection and "image/avif" in accept,
        jpeg_quality=transform.quality or settings.jpeg_quality,
        webp_quality=transform.quality or settings.webp_quality,
        avif_quality=transform.quality or settings.avif_quality,
        max_pixels=settings.max_source_pixels,
        max_frames=settings.max_animation_frames,
    )
