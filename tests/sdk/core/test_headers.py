"""Headers made of bytes are those that httpx makes."""

from __future__ import annotations

import httpx
import pytest

from isobase._http.headers import headers_of


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([], id="none"),
        pytest.param([(b"Content-Type", b"application/json"), (b"etag", b'"1"')], id="ordinary ones"),
        pytest.param([(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2")], id="a name twice"),
        pytest.param([(b"x-name", "Zoë".encode())], id="UTF-8"),
        pytest.param([(b"x-name", "Zoë".encode("latin-1"))], id="Latin-1"),
    ],
)
def test_headers_of_bytes_are_those_of_httpx(pairs: list[tuple[bytes, bytes]]) -> None:
    made, expected = headers_of(pairs), httpx.Headers(pairs)
    assert made == expected
    assert vars(made)["_list"] == vars(expected)["_list"]
    assert made.raw == expected.raw
    assert made.multi_items() == expected.multi_items()
    assert made.encoding == expected.encoding
    made["X-New"] = expected["X-New"] = "value"
    del made["x-new"]
    assert made.raw == pairs
