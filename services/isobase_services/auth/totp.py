"""Time-based one-time passwords (RFC 6238) and how an authenticator app is told of one. No I/O.

SHA-1, six digits, steps of 30 seconds, one step of tolerance either way: what every app can do and what upstream uses.
Source: contracts auth 2.16; the otpauth URI as authenticator apps read it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote

__all__ = ["CODE_LIFE_S", "STEP_S", "matching_step", "new_secret", "otpauth_uri", "qr_code_svg", "totp_code"]

STEP_S = 30
DIGITS = 6
TOLERANCE_STEPS = 1
CODE_LIFE_S = STEP_S * (2 * TOLERANCE_STEPS + 1)
"""From the first moment at which a code is accepted to the last."""
SECRET_BYTES = 20
QR_MODULE_PIXELS = 3
QR_QUIET_MODULES = 4
_KEPT = "@:"
"""What is not escaped in a URI, as upstream writes it: a port keeps its colon."""


def new_secret() -> str:
    """160 random bits in base32 without padding."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")


def totp_code(secret: str, step: int) -> str:
    """The code of one time step. Raises ValueError for a secret that is not base32."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True)
    digest = hmac.new(key, step.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The newest time step around ``now`` whose code is ``code``, or None. All steps are compared, in constant time."""
    current = int(now.timestamp()) // STEP_S
    found = None
    for step in range(current - TOLERANCE_STEPS, current + TOLERANCE_STEPS + 1):
        if hmac.compare_digest(totp_code(secret, step).encode(), code.strip().encode()):
            found = step
    return found


def otpauth_uri(secret: str, *, issuer: str, account: str) -> str:
    """What the QR code says: who asks (``issuer``), for whom (``account``), and the secret."""
    label = f"{quote(issuer, safe=_KEPT)}:{quote(account, safe=_KEPT)}"
    return (
        f"otpauth://totp/{label}?algorithm=SHA1&digits={DIGITS}&issuer={quote(issuer, safe=_KEPT)}"
        f"&period={STEP_S}&secret={secret}"
    )


def qr_code_svg(text: str) -> str:
    """A QR code as SVG text.

    Clients put the text behind ``data:image/svg+xml;utf-8,`` as it stands, so it must not hold a ``#``: colours are names.
    """
    import segno  # only who enrols a factor needs it

    rows = segno.make(text, error="h", micro=False).matrix
    size = len(rows) + 2 * QR_QUIET_MODULES
    runs = "".join(
        f"M{start + QR_QUIET_MODULES} {y + QR_QUIET_MODULES}h{length}v1h-{length}z"
        for y, row in enumerate(rows)
        for start, length in _dark_runs(row)
    )
    pixels = size * QR_MODULE_PIXELS
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{pixels}" height="{pixels}" viewBox="0 0 {size} {size}"'
        f' shape-rendering="crispEdges"><rect width="{size}" height="{size}" fill="white"/>'
        f'<path d="{runs}" fill="black"/></svg>'
    )


def _dark_runs(row: bytes | bytearray) -> list[tuple[int, int]]:
    """(start, length) of each run of dark modules in a row."""
    runs: list[tuple[int, int]] = []
    start = None
    for x, is_dark in enumerate([*row, 0]):
        if is_dark and start is None:
            start = x
        elif not is_dark and start is not None:
            runs.append((start, x - start))
            start = None
    return runs
