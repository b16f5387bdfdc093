"""What holds for every endpoint: /health, /settings, keys, unknown routes, methods, API versions, CORS, odd bodies."""

from __future__ import annotations

from tests.auth.differential.asking import Asking
from tests.auth.differential.scenarios.registry import scenario


@scenario("autoconfirm", "confirming", "strict", "closed", "confirming_open", "asymmetric")
def public_pages(auth: Asking) -> None:
    for path in ("/health", "/settings", "/.well-known/jwks.json", "/.well-known/openid-configuration"):
        auth.ask("GET", path)
        auth.ask("GET", path, version="2024-01-01")
        auth.ask("HEAD", path)
        auth.ask("POST", path)
        auth.ask("GET", f"{path}/")
        auth.ask("GET", path, token="x")


@scenario("autoconfirm")
def requests_of_browsers(auth: Asking) -> None:
    origin = {"origin": "https://app.example.com"}
    for path in ("/health", "/nonsense", "/user"):
        auth.ask("GET", path, headers=origin)
    for path in ("/signup", "/user", "/nonsense"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            auth.ask("OPTIONS", path, headers={**origin, "access-control-request-method": method})
    for names in ("authorization", "content-type,x-client-info", "x-supabase-api-version", "x-nonsense", "apikey"):
        wanted = {"access-control-request-method": "POST", "access-control-request-headers": names}
        auth.ask("OPTIONS", "/signup", headers={**origin, **wanted})


@scenario("autoconfirm")
def routes_that_are_not_there(auth: Asking) -> None:
    session = auth.sign_up()
    for path in (
        "/",
        "/nonsense",
        "/user/nonsense",
        "/admin",
        "/admin/nonsense",
        "/admin/users/x/y",
        "/factors/x/y",
        "/token/x",
        "/signup/",
        "/signup/x",
        "/verify/",
        "/otp/",
        "/logout/",
        "/recover/",
        "//user",
        "/sso/x",
        "/user/identities",
        "/user/identities/x/y",
    ):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            auth.ask(method, path, rows=False)
            auth.ask(method, path, token=session.token, rows=False)
        auth.admin("GET", path)


@scenario("autoconfirm")
def api_versions(auth: Asking) -> None:
    for version in ("2024-01-01", "2024-01-02", "2023-12-31", "2099-01-01", "", "x", "2024-1-1", "2024-13-01"):
        auth.ask("POST", "/token?grant_type=password", {"email": "a@example.com", "password": "x"}, version=version)
        auth.ask("POST", "/signup", {"email": "a@example.com", "password": "x"}, version=version)
        auth.ask("GET", "/health", version=version)
        auth.ask("GET", "/nonsense", version=version)


@scenario("autoconfirm")
def odd_bodies(auth: Asking) -> None:
    session = auth.sign_up()
    for body in (
        b"",
        b" ",
        b"\n",
        b"{",
        b'{"email":',
        b'{"email":"a',
        b"{}x",
        b"{}{}",
        b"null",
        b"true",
        b"5",
        b'"x"',
        b"[]",
        b"[{}]",
        b'{"email":"a@example.com",}',
        b"{'email':'a'}",
        b'{"email":NaN}',
        b'{"data":{"a":1e999}}',
        b'{"email":"\xff\xfe"}',
        b'\xef\xbb\xbf{"email":"a@example.com"}',
        b'{"email":"a@example.com","EMAIL":"b@example.com"}',
        b'{"Email":"a@example.com","Password":"123456"}',
        b'{"email":"a@example.com"}\n\n',
        b'{"email":"\\u0000"}',
        b'{"email":"\\ud800"}',
        b'{"data":' + b"[" * 100 + b"]" * 100 + b"}",
        b"email=a%40example.com",
    ):
        for path, token in (
            ("/signup", None),
            ("/token?grant_type=password", None),
            ("/otp", None),
            ("/recover", None),
            ("/verify", None),
            ("/user", session.token),
            ("/admin/users", auth.admin_token),
        ):
            auth.ask("PUT" if path == "/user" else "POST", path, body, token=token)
    auth.ask("POST", "/signup", b'{"email":"' + b"a" * (1 << 20) + b'"}')
    auth.ask("POST", "/signup", b'{"email":"' + b"a" * (1 << 20) + b'"}', version="2024-01-01")
    auth.ask(
        "POST", "/signup", b'{"email":"text@example.com","password":"123456"}', headers={"content-type": "text/plain"}
    )
