"""Files that mean harm to whoever decodes them, made here byte by byte. Each is small; what it claims to be is not."""

from __future__ import annotations

import itertools
import struct
import zlib

from tests.storage.images import picture

__all__ = ["corpus", "filter_bomb", "use_bomb"]

SVG_HEAD = b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10" height="10">'


def corpus() -> dict[str, bytes]:
    """Sources that have to be refused, by what they are."""
    jpeg, png, gif = picture(64, 64), picture(64, 64, ".png"), picture(64, 64, ".gif")
    webp, tiff, avif = picture(64, 64, ".webp"), picture(64, 64, ".tif"), picture(64, 64, ".avif")
    return {
        "nothing": b"",
        "HTML called an image": b"<!doctype html><html><body><script>alert(1)</script></body></html>",
        "PHP behind PNG's first bytes": b"\x89PNG\r\n\x1a\n<?php system($_GET['c']); ?>",
        "a zip archive": b"PK\x03\x04" + bytes(200),
        "a PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "a libvips file": b"\x08\xf2\xa6\xb6" + bytes(100),
        "an HEIC file": struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(64),
        "a HEIF family header without a known brand": bytes.fromhex("00000010667479706d69663100000000"),
        "a video": struct.pack(">I", 24) + b"ftypisom" + bytes(4) + b"isommp42" + bytes(64),
        "BMP": b"BM" + bytes(100),
        "a compressed SVG": b"\x1f\x8b\x08" + bytes(60),
        "half a JPEG": jpeg[: len(jpeg) // 2],
        "half a PNG": png[: len(png) // 2],
        "half a GIF": gif[: len(gif) // 2],
        "half a WebP": webp[: len(webp) // 2],
        "half a TIFF": tiff[: len(tiff) // 2],
        "half an AVIF": avif[: len(avif) // 2],
        "a PNG of 50,000 x 50,000": png_of_zeros(50_000, 50_000, rows=10),
        "a PNG of 2 billion x 1": png_of_zeros(2**31 - 1, 1, rows=0),
        "a PNG without width": png_of_zeros(0, 10, rows=0),
        "a PNG whose text inflates": png_with(
            b"zTXt", b"k\0\0" + zlib.compress(bytes(40_000_000), 9), width=100, height=100
        ),
        "a JPEG of 65,500 x 65,500": jpeg_claiming(65_500, 65_500),
        "a GIF of 65,535 x 65,535": b"GIF89a"
        + struct.pack("<HHBBB", 65_535, 65_535, 0xF0, 0, 0)
        + bytes(6)
        + gif[-40:],
        "a GIF that is large by its frames": gif_claiming(5000, 5000, 60),
        "a WebP of 16,384 x 16,384": webp_claiming(16_384, 16_384),
        "a TIFF of 2 billion x 2 billion": tiff_of(2**31 - 1, 2**31 - 1),
        "a TIFF whose directories go round": tiff_of(100, 100, next_directory=8, strip_at=2**31),
        "an AVIF that claims 30,000 x 30,000": avif_claiming(avif, 30_000, 30_000),
        "an SVG with an entity bomb": entity_bomb(),
        "an SVG with a quadratic entity bomb": (
            b'<!DOCTYPE svg [<!ENTITY a "'
            + b"A" * 100_000
            + b'">]>'
            + SVG_HEAD
            + b"<text>"
            + b"&a;" * 10_000
            + b"</text></svg>"
        ),
        "an SVG with a file as entity": (
            b'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + SVG_HEAD + b"<text>&a;</text></svg>"
        ),
        "an SVG with an outward parameter entity": (
            b'<!DOCTYPE svg [<!ENTITY % a SYSTEM "http://127.0.0.1:9/x.dtd"> %a;]>' + SVG_HEAD + b"</svg>"
        ),
        "an SVG that never ends": SVG_HEAD + b"<g>" * 50,
        "an SVG that is too deep": SVG_HEAD + b"<g>" * 100_000 + b"</g>" * 100_000 + b"</svg>",
        "XML that is no SVG": b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><svg/></html>',
    }


def use_bomb() -> bytes:
    """An SVG of ten levels of ten references each: ten billion rectangles."""
    levels = b"".join(
        b'<g id="l%d">' % level + b'<use xlink:href="#l%d"/>' % (level - 1) * 10 + b"</g>" for level in range(1, 11)
    )
    return SVG_HEAD + b'<defs><rect id="l0" width="1" height="1"/>' + levels + b'</defs><use xlink:href="#l10"/></svg>'


def filter_bomb() -> bytes:
    """An SVG of noise upon noise: small, valid, and endless work."""
    noise = (
        b'<feTurbulence baseFrequency="0.9" numOctaves="5000" result="n"/><feMorphology operator="dilate" radius="400"/>'
        * 50
    )
    shape = b'<rect width="10" height="10" filter="url(#f)"/>'
    return SVG_HEAD + b'<filter id="f" x="0" y="0" width="1" height="1">' + noise + b"</filter>" + shape + b"</svg>"


def png_of_zeros(width: int, height: int, *, rows: int) -> bytes:
    """A PNG of grey zeros that claims its size and holds ``rows`` rows."""
    data = zlib.compress(bytes((width + 1) * rows) if rows else b"\0", 9)
    return b"\x89PNG\r\n\x1a\n" + _ihdr(width, height) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def png_with(kind: bytes, data: bytes, *, width: int, height: int) -> bytes:
    """A PNG with a chunk before its pixels."""
    pixels = zlib.compress(bytes(1000), 9)
    head = b"\x89PNG\r\n\x1a\n" + _ihdr(width, height)
    return head + _chunk(kind, data) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _ihdr(width: int, height: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif_claiming(width: int, height: int, frames: int) -> bytes:
    """A GIF of frames that say one pixel and claim a large canvas."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    dot = (
        b"\x21\xf9\x04\x04\x0a\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0"
    )
    return head + dot * frames + b";"


def jpeg_claiming(width: int, height: int) -> bytes:
    """A JPEG whose frame header says another size than its data has."""
    content = bytearray(picture(64, 64))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_claiming(width: int, height: int) -> bytes:
    """A lossless WebP of a header and zeros."""
    bits = (width - 1) | (height - 1) << 14
    data = b"\x2f" + struct.pack("<I", bits) + bytes(100)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def tiff_of(width: int, height: int, *, next_directory: int = 0, strip_at: int = 8) -> bytes:
    """A TIFF of one strip."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, strip_at)]
    tags += [(277, 3, 1), (278, 4, height), (279, 4, min(width * height, 2**32 - 1))]
    body = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags
    )
    return b"II*\0" + struct.pack("<I", 8) + body + struct.pack("<I", next_directory)


def avif_claiming(avif: bytes, width: int, height: int) -> bytes:
    """An AVIF whose box says another size than its data has."""
    content = bytearray(avif)
    at = content.index(b"ispe") + 8
    content[at : at + 8] = struct.pack(">II", width, height)
    return bytes(content)


def entity_bomb() -> bytes:
    """The billion laughs."""
    names = "abcdefghij"
    entities = '<!ENTITY a "lol">' + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in itertools.pairwise(names)
    )
    return f"<!DOCTYPE svg [{entities}]>".encode() + SVG_HEAD + b"<text>&j;</text></svg>"
