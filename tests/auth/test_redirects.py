"""Where a browser may be sent: the allow-list's language, and the ways around it that must be shut."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isobase_platform.config import AuthSettings
from isobase_services.auth.globs import GlobError, compile_glob
from isobase_services.auth.redirects import allowed_redirect, is_allowed_redirect
from isobase_services.auth.urls import parse_url

SITE = "https://example.com"


def settings_with(*patterns: str, site_url: str = SITE) -> AuthSettings:
    return AuthSettings(site_url=site_url, additional_redirect_urls=patterns)


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("https://a.test/x", "https://a.test/x", True),
        ("https://a.test/*", "https://a.test/x", True),
        ("https://a.test/*", "https://a.test/", True),
        ("https://a.test/*", "https://a.test", False),
        ("https://a.test/*", "https://a.test/x/y", False),
        ("https://a.test/*", "https://a.test/x.html", False),
        ("https://a.test/*", "https://a.test/x?q=1", True),
        ("https://a.test/**", "https://a.test/x/y.html?q=1", True),
        ("https://*.a.test/", "https://b.a.test/", True),
        ("https://*.a.test/", "https://c.b.a.test/", False),
        ("https://**.a.test/", "https://c.b.a.test/", True),
        ("https://**a*b/", "https://a.ab/", True),
        ("https://a?.test/", "https://ab.test/", True),
        ("https://a?.test/", "https://a..test/", False),
        ("https://[a-c].test/", "https://b.test/", True),
        ("https://[!a-c].test/", "https://b.test/", False),
        ("https://[xyz].test/", "https://y.test/", True),
        ("https://{a,b*}.test/", "https://bcd.test/", True),
        ("https://{a,{b,c}}.test/{x,y}", "https://c.test/y", True),
        ("https://{a,b}.test/", "https://c.test/", False),
        (r"https://a\*.test/", "https://a*.test/", True),
        (r"https://a\*.test/", "https://ab.test/", False),
        ("myapp://**", "myapp://login/callback", True),
        ("", "", True),
    ],
)
def test_a_pattern_means_what_it_means_upstream(pattern: str, text: str, is_match: bool) -> None:
    assert compile_glob(pattern).matches(text) is is_match


@pytest.mark.parametrize("pattern", ["a{b", "a}b", "a[b", "a[]b", "a[z-a]", "{a,b}" * 9])
def test_a_pattern_that_cannot_be_read_is_an_error_and_matches_nothing(pattern: str) -> None:
    with pytest.raises(GlobError):
        compile_glob(pattern)
    assert not is_allowed_redirect("https://a.test/", settings_with(pattern))


def test_many_stars_cost_no_more_than_the_length_of_the_text() -> None:
    pattern, text = "https://" + "**a" * 20 + "b", "https://" + "a" * 8000
    began_s = time.perf_counter()
    assert not compile_glob(pattern).matches(text)
    assert time.perf_counter() - began_s < 20


UPSTREAM_LIST = ("http://localhost:8000/*", "http://*.localhost:8000/*", "http://*:12345/*", "http://**:12345/*")


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("http://localhost:8000/path", True),
        ("http://localhost:3000", False),
        ("http://localhost:8000", False),
        ("http://localhost:8000/path/to/page", False),
        ("http://localhost:8000/path?param=1", True),
        ("http://localhost:8000/path#part", True),
        ("http://123?.localhost:8000/path", False),
        ("http://123.123.123.123?localhost:8000/path", False),
        ("http://[65e7:9410:d8b6:e227:58cd:e55b:8fc0:206d]?localhost:8000/path", False),
        ("http://65e7:9410:d8b6:e227:58cd:e55b:8fc0:206d?localhost:8000/path", False),
        ("http://127.0.0.1:12345/path", True),
        ("http://127.0.0.1:9/any", True),
        ("http://[0:0:0:0:0:0:0:1]:12345/path", True),
        ("http://10.0.0.1:12345/path", False),
        ("https://example.com/dashboard", True),
        ("https://example.com", True),
        ("http://example.com/dashboard", False),
        ("https://example.com:8443/dashboard", False),
        ("", False),
    ],
)
def test_what_upstreams_own_cases_allow_is_allowed_here(url: str, is_allowed: bool) -> None:
    assert is_allowed_redirect(url, settings_with(*UPSTREAM_LIST)) is is_allowed


GENEROUS = (
    "https://**.example.com/**",
    "https://*.preview.test/**",
    "https://app.test**",
    "http*://*:12345/*",
    "myapp://*",
)


@pytest.mark.parametrize(
    "url",
    [
        # This machine, but the scheme chooses an app.
        "other://127.0.0.1/",
        "intent://127.0.0.1/#Intent;package=test.evil;end",
        # Another host behind, or in front of, the one that is meant.
        "https://example.com@evil.test/",
        "https://evil.test@app.example.com/",
        "https://evil.test/.example.com/",
        "https://evil.test?.example.com/",
        "https://evil.test/?x=.example.com/y",
        "https://evil.test#.example.com/",
        "https://example.com.evil.test/",
        "https://app.test@evil.test/",
        "https://app.test:x@evil.test/",
        # What a browser reads as a slash, and what it leaves out.
        "https://evil.test\\.example.com/",
        "https://evil.test\\@app.example.com/",
        "https:\\\\evil.test/.example.com/",
        "https:/evil.test/.example.com/",
        "https:evil.test",
        "https://evil.test\t.example.com/",
        "https://evil.test\n.example.com/",
        " https://app.example.com/",
        "//evil.test/",
        "///evil.test/",
        "/\\evil.test/",
        "\\\\evil.test/",
        "/path",
        "path",
        # Hosts that are numbers in disguise.
        "http://2130706433:12345/x",
        "http://0x7f000001:12345/x",
        "http://0x7f.1:12345/x",
        "http://0177.0.0.1:12345/x",
        "http://8.8.8.8:12345/x",
        "http://[2001:db8::1]:12345/x",
        # Hosts that only look alike.
        "https://ex\u0430mple.com/",
        "https://app.ex\u0430mple.com/",
        "https://evil.test\u3002example.com/",
        "https://evil.test\uff0f.example.com/",
        "https://evil.test%2f.example.com/",
        "https://evil.test%00.example.com/",
        "https://app.example.com./",
        "https://-app.example.com/",
        # Ports.
        "https://example.com:444/",
        "https://example.com:443@evil.test/",
        "https://example.com:port/",
        # Schemes that run something.
        "javascript:alert(1)",
        "JavaScript://app.example.com/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "java\nscript:alert(1)",
        "://evil.test",
        "https://app.example.com/" + "a" * 9000,
    ],
)
def test_a_url_made_to_get_around_the_list_is_refused(url: str) -> None:
    assert not is_allowed_redirect(url, settings_with(*GENEROUS))
    assert allowed_redirect(settings_with(*GENEROUS), url) == SITE


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "javascript://x/%0aalert(1)"])
def test_no_pattern_lets_a_script_in(url: str) -> None:
    assert not is_allowed_redirect(url, settings_with("**", "javascript:**", "data:**"))


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com/",
        "https://a.b.example.com/deep/path.html?next=/x#part",
        "https://pr-12.preview.test/done",
        "https://app.test/anything/at.all",
        "myapp://callback",
        "myapp://callback#part",
    ],
)
def test_what_the_list_is_meant_for_passes(url: str) -> None:
    assert is_allowed_redirect(url, settings_with(*GENEROUS))


def test_any_port_of_a_site_on_localhost_is_the_site() -> None:
    settings = settings_with(site_url="http://localhost:3000")
    assert is_allowed_redirect("http://localhost:5173/x", settings)
    assert not is_allowed_redirect("https://localhost:5173/x", settings)


def test_the_first_allowed_candidate_wins() -> None:
    settings = settings_with("https://a.test/*")
    assert allowed_redirect(settings, "https://evil.test/", "https://a.test/x") == "https://a.test/x"
    assert allowed_redirect(settings, "", "") == SITE


@given(st.text(max_size=60))
def test_no_text_breaks_the_rule_or_passes_an_empty_list(text: str) -> None:
    parsed = parse_url(text)
    is_allowed = is_allowed_redirect(text, settings_with())
    if is_allowed:
        assert parsed is not None
        assert parsed.hostname == "example.com" or parsed.hostname.startswith(("127.", "::1", "0:0"))
