"""Compare renderings with a running imgproxy, the renderer behind upstream: formats, sizes, pixels.

    python scripts/compare_imgproxy.py URL ROOT

``URL`` is imgproxy's address and ``ROOT`` its ``IMGPROXY_LOCAL_FILESYSTEM_ROOT``, where sources are written. imgproxy is to
be set up as upstream's command line does (docs/testing.md). Prints one line per difference and the totals.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyvips

from isobase_platform.config_storage.images import ImageSettings
from isobase_services.storage.render import pipeline
from isobase_services.storage.render.job import Job
from isobase_services.storage.render.plan import plan
from isobase_services.storage.render.transform import Transform
from tests.storage.images import SVG, animation, encoded, gradient, picture

SIZES = ((1000, 1000), (1000, 400), (333, 777), (100, 100), (41, 2000), (1, 1))
BOXES: tuple[dict[str, object], ...] = (
    {},
    {"width": 200, "height": 200},
    {"width": 200},
    {"height": 150},
    {"width": 99, "height": 300},
    {"width": 2000, "height": 1500},
    {"width": 1, "height": 1},
)
SOME_BOXES: tuple[dict[str, object], ...] = ({}, {"width": 100, "height": 100}, {"width": 50, "resize": "contain"})
RESIZES = ("cover", "contain", "fill")
GRAVITIES: tuple[dict[str, object], ...] = (
    {"gravity": "no"},
    {"gravity": "so"},
    {"gravity": "ea"},
    {"gravity": "we"},
    {"gravity": "noea"},
    {"gravity": "nowe"},
    {"gravity": "soea"},
    {"gravity": "sowe"},
    {"gravity": "ce"},
    {"gravity": "sm"},
    {"gravity": "fp", "x_offset": 0.2, "y_offset": 0.9},
    {"gravity": "ea", "x_offset": 13, "y_offset": 0},
    {"gravity": "ce", "x_offset": 0.11, "y_offset": -0.2},
)
MAX_MEAN_DIFFERENCE = 6.0
"""Per band, 0 to 255: other versions of libraries, another start of a resampling."""


@dataclass(slots=True, frozen=True)
class Outcome:
    """A rendering's format and image; both None for a refusal."""

    format: str | None
    image: Any


def sources() -> dict[str, bytes]:
    """Names and contents of what is rendered."""
    found = {f"{width}x{height}.png": picture(width, height, ".png") for width, height in SIZES}
    found |= {f"{width}x{height}.jpg": picture(width, height) for width, height in SIZES}
    base = gradient(301, 200)
    for orientation in range(2, 9):
        turned = base.copy()
        turned.set_type(pyvips.GValue.gint_type, "orientation", orientation)
        found[f"turned{orientation}.jpg"] = encoded(turned, ".jpg")
    found |= {f"plain{suffix}": picture(300, 200, suffix) for suffix in (".gif", ".webp", ".avif", ".tif")}
    found |= {f"alpha{suffix}": picture(300, 200, suffix, bands=4) for suffix in (".png", ".webp", ".avif", ".tif")}
    found |= {f"moving{suffix}": animation(120, 80, 5, suffix) for suffix in (".gif", ".webp")}
    found["deep.png"] = encoded(base.colourspace("rgb16"), ".png")
    found["cmyk.jpg"] = encoded(base.icc_export(output_profile="cmyk"), ".jpg")
    found["wide.png"] = encoded(base.icc_export(output_profile="p3"), ".png")
    found["palette.png"] = encoded(base, ".png", palette=True)
    found["grey.jpg"] = picture(300, 200, bands=1)
    found["drawing.svg"] = SVG
    return found


def wishes(name: str) -> Iterator[tuple[dict[str, object], str]]:
    """Values of the query and the Accept header."""
    if name[0].isdigit():
        for box, resize in itertools.product(BOXES, RESIZES):
            yield {**box, "resize": resize}, "*/*"
        return
    for box in SOME_BOXES:
        for format_, accept in (
            (None, "*/*"),
            (None, "image/webp"),
            ("webp", "*/*"),
            ("avif", "*/*"),
            ("origin", "*/*"),
        ):
            yield {**box, **({"format": format_} if format_ else {})}, accept
    if name.startswith("turned"):
        for gravity in GRAVITIES:
            yield {"width": 90, "height": 90, **gravity}, "*/*"


def theirs(client: httpx.Client, name: str, transform: Transform, accept: str) -> Outcome:
    """What imgproxy makes of it, asked as upstream asks."""
    applied = transform.applied().replace(",", "/")
    path = "/".join(part for part in ("/public", applied, f"plain/local:///{name}") if part)
    headers = {} if transform.format == "origin" else {"accept": accept}
    answer = client.get(path, headers={"accept": "", **headers})
    if answer.status_code != 200:
        return Outcome(None, None)
    return _outcome(answer.content, answer.headers["content-type"])


def ours(content: bytes, job: Job) -> Outcome:
    """What this repository makes of it."""
    try:
        made, format_ = pipeline.render(content, job)
    except pipeline.Refused:
        return Outcome(None, None)
    return _outcome(made, format_.value)


def _outcome(content: bytes, format_: str) -> Outcome:
    if format_ == "image/svg+xml":
        return Outcome(format_, None)
    options = "n=-1" if format_ in {"image/gif", "image/webp"} else ""
    return Outcome(format_, pyvips.Image.new_from_buffer(content, options))


def difference(mine: Outcome, other: Outcome) -> str | None:
    """What is not the same, or None."""
    if mine.format != other.format:
        return f"format {mine.format}, imgproxy {other.format}"
    if mine.image is None or other.image is None:
        return None
    size, their_size = (mine.image.width, mine.image.height), (other.image.width, other.image.height)
    if size != their_size:
        return f"size {size}, imgproxy {their_size}"
    if mine.image.bands != other.image.bands:
        return f"bands {mine.image.bands}, imgproxy {other.image.bands}"
    mean = (mine.image - other.image).abs().avg()
    return f"pixels differ by {mean:.1f}" if mean > MAX_MEAN_DIFFERENCE else None


def main(url: str, root: Path) -> int:
    """Compare; 1 where anything differs."""
    settings = ImageSettings()
    compared, differing = 0, 0
    with httpx.Client(base_url=url, timeout=60) as client:
        for name, content in sources().items():
            (root / name).write_bytes(content)
            for values, accept in wishes(name):
                transform = Transform.from_values(values, max_dimension=settings.max_dimension)
                found = difference(
                    ours(content, plan(transform, accept, settings)), theirs(client, name, transform, accept)
                )
                compared += 1
                if found:
                    differing += 1
                    print(f"{name} {values} {accept}: {found}")
    print(f"{compared} renderings compared, {differing} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))
