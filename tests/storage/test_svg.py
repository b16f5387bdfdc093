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
