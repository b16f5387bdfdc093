"""The URL of a new upload: whose word about host and scheme counts."""

from __future__ import annotations

import pytest

from isobase_platform.http.client_address import TrustedProxies
from isobase_platform.http.request import PROXIES_KEY
from isobase_services.storage.tus.location import UploadUrls

PATH = "/upload/resumable"
PROXY = "10.0.0.1"


def url(
    headers: dict[str, str], *, peer: str = PROXY, public_url: str | None = None, is_https_only: bool = False
) -> str:
    """What a request with these headers is answered."""
    scope = {
        "type": "http",
        "scheme": "http",
        "root_path": "/storage/v1",
        "client": (peer, 1234),
        "server": ("127.0.0.1", 54321),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        PROXIES_KEY: TrustedProxies([PROXY]),
    }
    return UploadUrls(public_url, is_https_only).url(scope, PATH, "id")


@pytest.mark.parametrize(
    ("headers", "begins"),
    [
        pytest.param({"host": "a.test:8000"}, "http://a.test:8000", id="the request's own host"),
        pytest.param({}, "http://127.0.0.1:54321", id="no host at all"),
        pytest.param(
            {"host": "inner", "x-forwarded-host": "a.test", "x-forwarded-proto": "https"},
            "https://a.test",
            id="forwarded",
        ),
        pytest.param(
            {"host": "inner", "x-forwarded-host": "a.test", "x-forwarded-port": "8443", "x-forwarded-proto": "https"},
            "https://a.test:8443",
            id="forwarded port",
        ),
        pytest.param(
            {"host": "inner", "x-forwarded-host": "a.test:1", "x-forwarded-port": "8443"},
            "http://a.test:8443",
            id="the forwarded port wins",
        ),
        pytest.param(
            {"host": "inner", "x-forwarded-host": "a.test", "x-forwarded-port": "443"}, "http://a.test", id="usual port"
        ),
        pytest.param(
            {"host": "inner", "forwarded": 'for=1.2.3.4;host="b.test";proto=https', "x-forwarded-host": "a.test"},
            "https://b.test",
            id="RFC 7239 first",
        ),
        pytest.param({"host": "inner", "x-forwarded-prefix": "/api/"}, "http://inner/api", id="forwarded prefix"),
        pytest.param(
            {"host": "inner", "x-forwarded-prefix": "//evil.test"}, "http://inner", id="prefix that is a host"
        ),
        pytest.param({"host": "inner", "x-forwarded-host": "evil.test/x?"}, "http://inner", id="host that is more"),
        pytest.param({"host": "evil.test/x@"}, "http://127.0.0.1:54321", id="own host that is more"),
    ],
)
def test_a_trusted_proxy_says_how_clients_reach_the_server(headers: dict[str, str], begins: str) -> None:
    assert url(headers) == f"{begins}/storage/v1{PATH}/id"


def test_a_client_cannot_say_where_uploads_go() -> None:
    headers = {
        "host": "a.test",
        "x-forwarded-host": "evil.test",
        "x-forwarded-proto": "https",
        "forwarded": "host=evil.test",
    }
    assert url(headers, peer="9.9.9.9") == f"http://a.test/storage/v1{PATH}/id"


def test_the_public_url_wins() -> None:
    headers = {"host": "inner", "x-forwarded-host": "a.test"}
    expected = f"https://p.test/base/storage/v1{PATH}/id"
    assert url(headers, public_url="https://p.test/base/") == expected


def test_in_production_uploads_go_over_https() -> None:
    assert url({"host": "a.test"}, is_https_only=True) == f"https://a.test/storage/v1{PATH}/id"
    local = f"http://p.test/storage/v1{PATH}/id"
    assert url({"host": "a.test"}, public_url="http://p.test", is_https_only=True) == local
