"""The pure rules of image transformation: sizes and cuts, the words of requests and tokens, formats by their first bytes."""

from __future__ import annotations

import pytest

from isobase_services.storage.render.formats import ImageFormat, OutputWish, output_format, sniff
from isobase_services.storage.render.geometry import Box, Crop, crop_to, rounded, scale_to
from isobase_services.storage.render.svg import SvgRefused, sanitize_svg
from isobase_services.storage.render.transform import FocalPointOutside, Format, Gravity, Resize, Transform

CENTER = Gravity.CENTER


def result_size(width: int, height: int, box: Box, *, may_enlarge: bool = False) -> tuple[int, int]:
    """The size of the scaled and cut image."""
    scale = scale_to(width, height, box, may_enlarge=may_enlarge)
    scaled = max(rounded(width * scale.x), 1), max(rounded(height * scale.y), 1)
    crop = crop_to(*scaled, box, CENTER, 0, 0)
    return (crop.width, crop.height) if crop else scaled


# By imgproxy's documented rules (enlarge off); the box of 3000 x 8192 stands for a length that is not given.
SIZES = [
    ((1000, 1000), (200, 200, "cover"), (200, 200)),
    ((1000, 500), (200, 200, "cover"), (200, 200)),
    ((1000, 500), (200, 200, "contain"), (200, 100)),
    ((1000, 500), (200, 200, "fill"), (200, 200)),
    ((1000, 1000), (200, 8192, "cover"), (200, 1000)),
    ((1000, 1000), (200, 8192, "contain"), (200, 200)),
    ((1000, 1000), (3000, 200, "cover"), (1000, 200)),
    ((1000, 1000), (200, 8192, "fill"), (24, 1000)),
    ((100, 100), (200, 200, "cover"), (100, 100)),
    ((100, 100), (200, 200, "contain"), (100, 100)),
    ((100, 100), (200, 100, "fill"), (100, 50)),
    ((100, 50), (80, 80, "cover"), (80, 50)),
    ((4000, 3000), (3000, 8192, "contain"), (3000, 2250)),
    ((333, 777), (100, 100, "contain"), (43, 100)),
    ((640, 479), (320, 8192, "contain"), (320, 240)),
    ((641, 480), (100, 99, "cover"), (100, 99)),
    ((10000, 10), (100, 100, "contain"), (100, 1)),
    ((1, 1), (2000, 2000, "fill"), (1, 1)),
]


@pytest.mark.parametrize(("source", "box", "expected"), SIZES)
def test_an_image_gets_the_size_that_its_box_allows(
    source: tuple[int, int], box: tuple[int, int, str], expected: tuple[int, int]
) -> None:
    assert result_size(*source, Box(box[0], box[1], Resize(box[2]))) == expected


def test_a_vector_image_may_grow() -> None:
    assert result_size(10, 20, Box(300, 300, Resize.COVER), may_enlarge=True) == (300, 300)
    assert result_size(10, 20, Box(300, 300, Resize.CONTAIN), may_enlarge=True) == (150, 300)


@pytest.mark.parametrize(
    ("gravity", "offsets", "expected"),
    [
        ("ce", (0, 0), (50, 0)),
        ("no", (0, 0), (50, 0)),
        ("we", (0, 0), (0, 0)),
        ("ea", (0, 0), (100, 0)),
        ("noea", (0, 0), (100, 0)),
        ("sowe", (0, 0), (0, 0)),
        ("we", (10, 0), (10, 0)),
        ("ea", (10, 0), (90, 0)),
        ("ce", (0.1, 0), (70, 0)),
        ("ce", (-500, 0), (0, 0)),
        ("ce", (500, 0), (100, 0)),
        ("fp", (0, 0), (0, 0)),
        ("fp", (0.5, 0.5), (50, 0)),
        ("fp", (1, 1), (100, 0)),
        ("sm", (0, 0), (None, None)),
    ],
)
def test_gravity_says_what_is_kept(
    gravity: str, offsets: tuple[float, float], expected: tuple[int | None, int | None]
) -> None:
    crop = crop_to(200, 100, Box(100, 100, Resize.COVER), Gravity(gravity), *offsets)
    assert crop == Crop(*expected, 100, 100)


def transform(**values: object) -> Transform:
    return Transform.from_values(values, max_dimension=2000)


@pytest.mark.parametrize(
    ("values", "applied", "token"),
    [
        ({}, "", ""),
        ({"width": 0, "height": 0}, "", ""),
        (
            {"quality": 60, "width": 200, "height": 200},
            "height:200,width:200,resizing_type:fill,quality:60",
            "height:200,width:200,resize:cover,quality:60",
        ),
        ({"width": 9999, "resize": "contain"}, "width:2000,resizing_type:fit", "width:2000,resize:contain"),
        (
            {"height": 1, "resize": "fill", "format": "avif"},
            "height:1,resizing_type:force,format:avif",
            "height:1,resize:fill,format:avif",
        ),
        ({"resize": "fill", "format": "origin"}, "", ""),
        ({"gravity": "sm", "x_offset": 3}, "gravity:sm", "gravity:sm"),
        ({"gravity": "fp", "x_offset": 0, "y_offset": 1.0}, "gravity:fp:0:1", "gravity:fp:0:1"),
        ({"gravity": "noea", "y_offset": -2.5}, "gravity:noea:0:-2.5", "gravity:noea:0:-2.5"),
        ({"gravity": "so"}, "gravity:so", "gravity:so"),
    ],
)
def test_what_is_applied_is_named_in_upstreams_words_and_order(
    values: dict[str, object], applied: str, token: str
) -> None:
    wanted = transform(**values)
    assert wanted.applied() == applied
    assert wanted.for_token() == token
    assert Transform.from_token(token, None, max_dimension=2000).applied() == applied


@pytest.mark.parametrize("point", [(None, None), (0.5, None), (1.1, 0), (0, -0.1)])
def test_a_focal_point_has_to_lie_in_the_image(point: tuple[float | None, float | None]) -> None:
    with pytest.raises(FocalPointOutside):
        Transform(gravity=Gravity.POINT, x_offset=point[0], y_offset=point[1]).applied()


def test_a_token_of_upstreams_or_of_nobody_is_read_as_upstream_reads_it() -> None:
    def read(text: str, format_claim: str | None = None) -> Transform:
        return Transform.from_token(text, format_claim, max_dimension=2000)

    assert (
        read("height:200,width:200,resize:undefined,quality:60")
        .applied()
        .startswith("height:200,width:200,resizing_type:fill")
    )
    assert read("") == read("nonsense,width,width:,gravity:xx,resize:1") == Transform()
    assert read("width:12px,height:-5").width == 12
    assert read("width:12px,height:-5").height == 1
    assert read("quality:5000").quality == 100
    assert read("gravity:fp:0.25:abc").x_offset == 0.25
    assert read("gravity:fp:1e999:0").x_offset is None
    assert read("width:10", "origin").format is Format.ORIGIN
    assert read("width:10,format:webp", "webp").format is Format.WEBP
    assert read("width:10", "tiff").format is None
    assert read("width:" + "9" * 5000).width == 2000


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0", ImageFormat.JPEG),
        (b"RIFF\0\0\0\0WEBPVP8 ", ImageFormat.WEBP),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", ImageFormat.AVIF),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", ImageFormat.AVIF),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ImageFormat.SVG),
        (
            b"\xef\xbb\xbf <?xml version='1.0'?>\n<!-- <html> --><!DOCTYPE svg [<!ENTITY a '>'>]><svg:svg>",
            ImageFormat.SVG,
        ),
        (b"<svgx/>", None),
        (b"<html><svg/></html>", None),
        (b"text <svg/>", None),
        (b"", None),
    ],
)
def test_a_format_is_told_by_the_first_bytes(head: bytes, expected: ImageFormat | None) -> None:
    assert sniff(head) is expected


@pytest.mark.parametrize(
    ("source", "wish", "is_animated", "has_alpha", "expected"),
    [
        ("image/jpeg", (None, False, False), False, False, "image/jpeg"),
        ("image/jpeg", (None, True, False), False, False, "image/webp"),
        ("image/jpeg", (None, True, True), False, False, "image/avif"),
        ("image/gif", (None, True, True), True, True, "image/webp"),
        ("image/webp", (None, False, False), False, False, "image/jpeg"),
        ("image/webp", (None, False, False), False, True, "image/png"),
        ("image/webp", (None, False, False), True, True, "image/gif"),
        ("image/tiff", (None, False, False), False, True, "image/png"),
        ("image/svg+xml", (None, True, True), False, True, "image/svg+xml"),
        ("image/svg+xml", ("image/webp", False, False), False, True, "image/webp"),
        ("image/png", ("image/avif", True, False), False, True, "image/avif"),
    ],
)
def test_the_results_format_follows_the_wish_then_the_client_then_the_source(
    source: str, wish: tuple[str | None, bool, bool], is_animated: bool, has_alpha: bool, expected: str
) -> None:
    named = ImageFormat(wish[0]) if wish[0] else None
    wanted = OutputWish(named, wish[1], wish[2])
    found = output_format(ImageFormat(source), wanted, is_animated=is_animated, has_alpha=has_alpha)
    assert found is ImageFormat(expected)


@pytest.mark.parametrize(
    "attribute",
    [
        'style="background:url(http://a.example/)"',
        'style="fill:\\75 rl(http://a.example/)"',
        'style="fill:u/**/rl(//a.example/x)"',
        "fill=\"url('https://a.example/#f')\"",
        'filter="url( //a.example/f )"',
        "style=\"background-image:image-set('http://a.example/' 1x)\"",
        'style="width:expression(alert(1))"',
        'href="\x01http://a.example/"',
        'xlink:href=" data:image/svg+xml;base64,AAAA"',
        'xml:base="http://a.example/"',
        'onfocusin="alert(1)"',
        'ONLOAD="alert(1)"',
    ],
)
def test_an_attribute_that_reaches_out_is_left_out(attribute: str) -> None:
    if "\x01" in attribute:
        attribute = attribute.replace("\x01", "&#9;")
    source = f'<svg xmlns="s" xmlns:xlink="x"><rect {attribute} width="1"/></svg>'
    assert sanitize_svg(source.encode()) == b'<svg xmlns="s" xmlns:xlink="x"><rect width="1"></rect></svg>'


@pytest.mark.parametrize(
    "attribute",
    [
        'fill="url(#gradient)"',
        'style="fill:#fff;stroke:rgb(1,2,3)"',
        'href="#a"',
        'xlink:href="data:image/png;base64,AAAA"',
        'transform="rotate(45)"',
        'font-family="Noto Sans: Bold"',
    ],
)
def test_an_attribute_that_stays_inside_is_kept(attribute: str) -> None:
    source = f'<svg xmlns="s" xmlns:xlink="x"><image {attribute}></image></svg>'
    assert sanitize_svg(source.encode()).decode() == source


@pytest.mark.parametrize(
    "source", ["", "<svg>", "<svg/><svg/>", "<a/>", "<svg>&undefined;</svg>", "<svg a='1' a='2'/>"]
)
def test_what_is_not_well_formed_is_refused(source: str) -> None:
    with pytest.raises(SvgRefused):
        sanitize_svg(source.encode())


def test_an_encoding_of_its_own_becomes_utf_8() -> None:
    source = '<?xml version="1.0" encoding="iso-8859-1"?><svg><text>äöü</text></svg>'.encode("latin-1")
    assert sanitize_svg(source).decode() == "<svg><text>äöü</text></svg>"
    with pytest.raises(SvgRefused):
        sanitize_svg(b'<?xml version="1.0" encoding="no-such"?><svg/>')
