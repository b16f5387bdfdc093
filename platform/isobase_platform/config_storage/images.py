"""Settings of image transformation. Defaults are those of the renderer that upstream's command line starts."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["ImageSettings"]

MIB = 1024 * 1024


class ImageSettings(SettingsGroup):
    """Image transformation (``/storage/v1/render/image``)."""

    enabled: bool = True
    """Whether images are rendered; without it a transform of a signed URL is checked and left out."""
    max_dimension: int = Field(default=2000, ge=1)
    """What a request's width and height are cut to, in pixels."""
    default_width: int = Field(default=3000, ge=1, le=16383)
    """The width (pixels) of the box for a request that names none; an image is never enlarged to it."""
    default_height: int = Field(default=8192, ge=1, le=16383)
    """The height (pixels) of the box for a request that names none."""
    max_source_bytes: int = Field(default=25_000_000, ge=1)
    """A larger source is refused before it is read."""
    max_source_pixels: int = Field(default=50_000_000, ge=1)
    """Width x height (x frames of an animation) of the source."""
    max_animation_frames: int = Field(default=60, ge=1)
    """Later frames are left out; 1: the first frame alone is shown."""
    jpeg_quality: int = Field(default=80, ge=1, le=100)
    """Where a request names no quality: 1 (small) to 100 (like the source)."""
    webp_quality: int = Field(default=80, ge=1, le=100)
    """The same for WebP."""
    avif_quality: int = Field(default=62, ge=1, le=100)
    """The same for AVIF."""
    webp_detection: bool = True
    """Whether a client that accepts image/webp gets it where the request names no format."""
    avif_detection: bool = False
    """The same for image/avif, which is smaller and takes many times as long to make."""
    workers: int = Field(default=2, ge=1)
    """How many processes render at a time; they start with the first request and end when idle."""
    max_waiting: int = Field(default=100, ge=0)
    """How many requests may wait for a process; further ones are refused (429)."""
    timeout_s: float = Field(default=15, gt=0)
    """How long reading the source and rendering it may take together, and how long a request waits for a process."""
    worker_memory_bytes: int = Field(default=1024 * MIB, ge=256 * MIB)
    """Address space of one process."""
    worker_idle_s: float = Field(default=60, gt=0)
    """How long a process without work stays."""
    cache_bytes: int = Field(default=1024 * MIB, ge=0)
    """How much of the disk rendered images may take; 0: none are kept."""
    cache_root: Path | None = None
    """Directory of rendered images and temporary files; default ``image-cache`` in the data directory."""
