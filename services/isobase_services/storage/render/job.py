"""What the service and its rendering processes say to each other: a job, a reply, as JSON. Files travel as descriptors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from isobase_services.storage.render.formats import ImageFormat
from isobase_services.storage.render.transform import Gravity, Resize

__all__ = ["LENGTH_BYTES", "MAX_MESSAGE_BYTES", "Job", "Refusal", "Rendered", "framed", "is_whole"]

MAX_MESSAGE_BYTES = 4096
LENGTH_BYTES = 4
"""Before each message on the socket, which is a stream: not every system has sockets that keep messages apart."""


def framed(message: bytes) -> bytes:
    """The message with its length before it; a longer one than ``MAX_MESSAGE_BYTES`` is cut."""
    cut = message[:MAX_MESSAGE_BYTES]
    return len(cut).to_bytes(LENGTH_BYTES, "big") + cut


def is_whole(received: bytes) -> bool:
    """Whether that is a message with its length; what follows ``LENGTH_BYTES`` is then the message."""
    return len(received) >= LENGTH_BYTES + int.from_bytes(received[:LENGTH_BYTES].ljust(LENGTH_BYTES, b"\xff"), "big")


class Refusal(StrEnum):
    """Why a source is not rendered; all are its own fault but the last two."""

    UNSUPPORTED = "unsupported"
    TOO_MANY_PIXELS = "too_many_pixels"
    FRAME_TOO_LARGE = "frame_too_large"
    TOO_LARGE = "too_large"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


@dataclass(slots=True, frozen=True)
class Job:
    """How to render one source. Lengths are pixels; ``quality`` is by format, or one for all from the request."""

    width: int
    height: int
    resize: Resize
    gravity: Gravity
    x_offset: float
    y_offset: float
    named_format: ImageFormat | None
    prefers_webp: bool
    prefers_avif: bool
    jpeg_quality: int
    webp_quality: int
    avif_quality: int
    max_pixels: int
    max_frames: int

    def to_json(self) -> bytes:
        """The message."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Job:
        """The job of a message."""
        values = json.loads(text)
        named = values.pop("named_format")
        return cls(
            **{
                **values,
                "resize": Resize(values["resize"]),
                "gravity": Gravity(values["gravity"]),
                "named_format": ImageFormat(named) if named is not None else None,
            }
        )


@dataclass(slots=True, frozen=True)
class Rendered:
    """The reply: the format of what was written to the result's file, or why nothing was."""

    format: ImageFormat | None
    refusal: Refusal | None = None

    def to_json(self) -> bytes:
        """The message."""
        return json.dumps([self.format, self.refusal]).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Rendered:
        """The reply of a message."""
        format_, refusal = json.loads(text)
        return cls(ImageFormat(format_) if format_ else None, Refusal(refusal) if refusal else None)
