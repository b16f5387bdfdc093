"""The Phoenix channel protocol as bytes and text: frames in, frames out, and nothing of what they mean.

``messages`` holds the values, ``v1`` and ``v2`` the two serialisations that clients ask for with ``vsn``. Both are pure.
"""

from __future__ import annotations

from isobase_services.realtime.wire.messages import Codec
from isobase_services.realtime.wire.v1 import PhoenixV1
from isobase_services.realtime.wire.v2 import PhoenixV2

__all__ = ["Codec", "codec_for"]

_V1: Codec = PhoenixV1()
_BY_VERSION: dict[str, Codec] = {"1.0": _V1, "2.0": PhoenixV2()}


def codec_for(vsn: str | None) -> Codec | None:
    """The codec of a ``vsn`` parameter, or None for a version that the handshake must refuse.

    Absent means 1.0.0. Upstream takes what satisfies ``~> 1.0.0`` or ``~> 2.0.0``: three numbers, of which the first two are
    fixed. Source: contracts/realtime.md 1.1.
    """
    if vsn is None:
        return _V1
    numbers = vsn.split(".")
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
        return None
    return _BY_VERSION.get(".".join(numbers[:2]))
