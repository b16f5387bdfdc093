"""Whose request it is: what proxies say is believed only as far as they are trusted."""

from __future__ import annotations

import logging
from typing import Literal

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from isobase_platform.config import Settings, load_settings
from isobase_platform.config_auth import AuthSettings
from isobase_platform.config_auth.rate_limit import RateLimitSettings
from isobase_platform.errors import ConfigurationError
from isobase_platform.http.client_address import TrustedProxies
from isobase_platform.http.edge import Edge
from isobase_platform.http.request import client_ip
from isobase_platform.observe import Metrics
from isobase_platform.service import ApiKeyRule, Mount
from isobase_platform.tokens import ApiKeys

TRUSTED = ("10.0.0.0/8", "2001:db8:aa::/48")


def scope(peer: str | None, *forwarded: str, name: str = "x-forwarded-for") -> Scope:
    headers = [(name.encode(), value.encode()) for value in forwarded]
    return {"type": "http", "client": (peer, 1) if peer is not None else None, "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        pytest.param("203.0.113.9", (), "203.0.113.9", id="nobody-forwards"),
        pytest.param("203.0.113.9", ("198.51.100.1",), "203.0.113.9", id="a-stranger-forwards"),
        pytest.param("10.0.0.1", ("198.51.100.1",), "198.51.100.1", id="a-proxy-forwards"),
        pytest.param("10.0.0.1", (), "10.0.0.1", id="a-proxy-asks-for-itself"),
        pytest.param("10.0.0.1", ("1.1.1.1, 198.51.100.1",), "198.51.100.1", id="the-client-wrote-the-left-one"),
        pytest.param("10.0.0.1", ("1.1.1.1", "198.51.100.1"), "198.51.100.1", id="in-a-header-of-its-own"),
        pytest.param("10.0.0.1", ("198.51.100.1, 10.0.0.2",), "198.51.100.1", id="two-proxies"),
        pytest.param("10.0.0.1", ("10.0.0.3, 10.0.0.2",), "10.0.0.3", id="proxies-only"),
        pytest.param("10.0.0.1", ("1.1.1.1, x, 10.0.0.2",), "10.0.0.2", id="nonsense-hides-what-is-left-of-it"),
        pytest.param("10.0.0.1", ("",), "10.0.0.1", id="an-empty-header"),
        pytest.param("10.0.0.1", ("198.51.100.1:4711",), "198.51.100.1", id="with-a-port"),
        pytest.param("10.0.0.1", ("[2001:db8::7]:443",), "2001:db8::7", id="ipv6-with-a-port"),
        pytest.param("::ffff:10.0.0.1", ("198.51.100.1",), "198.51.100.1", id="an-ipv4-proxy-by-ipv6"),
        pytest.param("2001:db8:aa::1", ("198.51.100.1",), "198.51.100.1", id="an-ipv6-proxy"),
        pytest.param("::ffff:203.0.113.9", (), "203.0.113.9", id="an-ipv4-client-by-ipv6"),
        pytest.param("fe80::1%eth0", (), "fe80::1", id="a-zone"),
        pytest.param(None, ("198.51.100.1",), None, id="a-unix-socket-that-is-not-trusted"),
        pytest.param("10.0.0.1", ("9" * 5000,), "10.0.0.1", id="a-huge-header"),
    ],
)
def test_the_client_is_the_first_from_the_right_who_is_no_trusted_proxy(
    peer: str | None, forwarded: tuple[str, ...], client: str | None
) -> None:
    assert TrustedProxies(TRUSTED).client(scope(peer, *forwarded)) == client


def test_a_proxy_that_the_settings_do_not_know_is_named_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    proxies = TrustedProxies()
    with caplog.at_level(logging.WARNING, "isobase.http"):
        proxies.client(scope("10.0.0.1"))
        assert not caplog.records
        for _ in range(3):
            proxies.client(scope("10.0.0.1", "198.51.100.1"))
    assert [record.__dict__["peer"] for record in caplog.records] == ["10.0.0.1"]


def test_a_unix_socket_can_be_trusted() -> None:
    assert TrustedProxies(("unix",)).client(scope(None, "1.1.1.1, 198.51.100.1")) == "198.51.100.1"


def test_the_header_has_the_name_that_the_settings_give() -> None:
    proxies = TrustedProxies(TRUSTED, "CF-Connecting-IP")
    assert proxies.client(scope("10.0.0.1", "198.51.100.1", name="cf-connecting-ip")) == "198.51.100.1"
    assert proxies.client(scope("10.0.0.1", "198.51.100.1")) == "10.0.0.1"


@pytest.mark.parametrize(("trusted", "seen"), [((), "127.0.0.1"), (("127.0.0.1",), "198.51.100.1")])
async def test_the_edge_tells_every_mount(trusted: tuple[str, ...], seen: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(client_ip(scope) or "none")(scope, receive, send)

    keys = ApiKeys(anon="a", service_role="b", publishable="c", secret="d")
    edge = Edge([Mount("/x", app, ApiKeyRule.NONE)], keys=keys, metrics=Metrics(), proxies=TrustedProxies(trusted))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=edge), base_url="http://test") as client:
        answer = await client.get("/x/", headers={"x-forwarded-for": "198.51.100.1"})
    assert answer.text == seen


@pytest.mark.parametrize("name", ["trusted_proxies", "auth.rate_limit.unlimited_addresses"])
def test_networks_that_are_none_are_refused_at_start(name: str) -> None:
    values: dict[str, object] = {}
    place = values
    *groups, last = name.split(".")
    for group in groups:
        place[group] = place = {}
    place[last] = ["10.0.0.0/33"]
    with pytest.raises(ConfigurationError, match=name.replace(".", r"\.")):
        load_settings(flags=values)
    assert isinstance(load_settings(), Settings)


@pytest.mark.parametrize(
    ("env", "chosen", "unlimited"),
    [
        ("local", None, ("127.0.0.0/8", "::1/128")),
        ("production", None, ()),
        ("production", ("127.0.0.1/32",), ("127.0.0.1/32",)),
        ("local", (), ()),
    ],
)
def test_only_a_local_project_leaves_this_machine_unlimited_by_itself(
    env: Literal["local", "production"], chosen: tuple[str, ...] | None, unlimited: tuple[str, ...]
) -> None:
    settings = Settings(env=env, auth=AuthSettings(rate_limit=RateLimitSettings(unlimited_addresses=chosen)))
    assert settings.unlimited_addresses == unlimited
