"""SVG files that a browser takes and XML's grammar does not."""

from __future__ import annotations

import pytest

from isobase_services.storage.render.svg import SvgRefused, sanitize_svg


def test_attributes_without_a_space_between_them_are_taken() -> None:
    source = b"""<svg xmlns="http://www.w3.org/2000/svg"><g x="1"y="2"onload="run()"z='3'w="4"/></svg>"""
    assert sanitize_svg(source) == b'<svg xmlns="http://www.w3.org/2000/svg"><g x="1" y="2" z="3" w="4"></g></svg>'


@pytest.mark.parametrize(
    "source", [b'<svg a="1"b="2">', b"<svg><g</svg>", b"", b'<svg a="1"a="2"/>', b"<svg " + b"='\"" * 100_000]
)
def test_what_is_broken_otherwise_is_refused(source: bytes) -> None:
    with pytest.raises(SvgRefused):
        sanitize_svg(source)


EVIL = "//evil.example"


@pytest.mark.parametrize(
    "inside",
    [
        pytest.param(f"<style><b/>@import url({EVIL}/x.css)</style>", id="behind an element in a style"),
        pytest.param(f"<style>a{{b:c}}<![CDATA[]]><b>x</b>@import '{EVIL}'</style>", id="behind text and an element"),
        pytest.param(f"""<g style="content:'/*';background:url({EVIL}/x)"/>""", id="behind a comment in a string"),
        pytest.param(f"""<g style="fill:u/**/rl(#a);background:url({EVIL}/x)/*"/>""", id="before a comment"),
        pytest.param(f"""<g style="background:image-set('{EVIL}/x' 1x)"/>""", id="an image set"),
        pytest.param(f"""<g style="background:\\69mage-set('{EVIL}/x' 1x)"/>""", id="an image set, escaped"),
        pytest.param(f"""<g style="--a:'{EVIL}/x';background:src(var(--a))"/>""", id="an address in a variable"),
    ],
)
def test_no_style_reaches_outward(inside: str) -> None:
    clean = sanitize_svg(f'<svg xmlns="http://www.w3.org/2000/svg">{inside}<g id="a"/></svg>'.encode())
    assert b"evil" not in clean
    assert b'id="a"' in clean


def test_a_style_that_stays_inside_is_kept() -> None:
    source = """<svg xmlns="http://www.w3.org/2000/svg"><style>.a{fill:url(#b)} /* a: note */</style></svg>"""
    assert b".a{fill:url(#b)} /* a: note */" in sanitize_svg(source.encode())
