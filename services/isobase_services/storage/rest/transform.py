"""The members by which a query or a body asks for a transformed image. Source: upstream ``src/http/routes/schemas``."""

from __future__ import annotations

from isobase_services.storage.render.transform import Format, Gravity, Resize
from isobase_services.storage.rest.schema import Integer, Number, Object, Schema, Text, When

__all__ = ["TRANSFORM", "TRANSFORM_AND_DOWNLOAD"]

_MEMBERS: dict[str, Schema] = {
    "height": Integer(minimum=0),
    "width": Integer(minimum=0),
    "resize": Text(choices=tuple(Resize)),
    "format": Text(choices=(Format.ORIGIN, Format.AVIF, Format.WEBP)),
    "quality": Integer(minimum=20, maximum=100),
    "gravity": Text(choices=tuple(Gravity)),
    "x_offset": Number(),
    "y_offset": Number(),
}
_POINT = Object(
    {"x_offset": Number(minimum=0, maximum=1), "y_offset": Number(minimum=0, maximum=1)},
    required=("x_offset", "y_offset"),
)

TRANSFORM = When(Object(_MEMBERS), "gravity", "fp", _POINT)
"""Gravity fp needs its point."""
TRANSFORM_AND_DOWNLOAD = When(Object({**_MEMBERS, "download": Text()}), "gravity", "fp", _POINT)
"""The query of a render route."""
