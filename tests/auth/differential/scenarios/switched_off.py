"""Routes of features that are off: the same refusals."""

from __future__ import annotations

from tests.auth.differential.asking import Asking
from tests.auth.differential.scenarios.admin_users import NOBODY
from tests.auth.differential.scenarios.registry import scenario


@scenario("confirming")
def features_that_are_off(auth: Asking) -> None:
    session = auth.admin(
        "POST", "/admin/users", {"email": "alice@example.com", "password": "123456", "email_confirm": True}
    )
    session = auth.sign_in(password="123456")
    for method, path in (
        ("POST", "/sso"),
        ("GET", "/sso/saml/metadata"),
        ("POST", "/sso/saml/acs"),
        ("GET", "/sso"),
        ("POST", "/passkeys/authentication/options"),
        ("POST", "/passkeys/authentication/verify"),
        ("POST", "/passkeys/registration/options"),
        ("GET", "/passkeys"),
        ("DELETE", f"/passkeys/{NOBODY}"),
        ("GET", "/oauth/authorize"),
        ("GET", f"/oauth/authorizations/{NOBODY}"),
        ("POST", f"/oauth/authorizations/{NOBODY}/consent"),
        ("POST", "/oauth/token"),
        ("GET", "/oauth/userinfo"),
        ("POST", "/oauth/clients/register"),
        ("GET", "/user/oauth/grants"),
        ("DELETE", "/user/oauth/grants"),
        ("GET", "/admin/oauth/clients"),
        ("POST", "/admin/oauth/clients"),
        ("GET", f"/admin/oauth/clients/{NOBODY}"),
        ("GET", "/admin/sso/providers"),
        ("POST", "/admin/sso/providers"),
        ("GET", f"/admin/sso/providers/{NOBODY}"),
        ("GET", "/admin/custom-providers"),
        ("GET", f"/admin/users/{NOBODY}/passkeys"),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/.well-known/openid-configuration"),
        ("GET", "/scim/v2/ServiceProviderConfig"),
        ("POST", "/token?grant_type=web3"),
    ):
        auth.ask(method, path)
        auth.ask(method, path, token=session.token)
        auth.admin(method, path)
        auth.admin(method, path, {})
        auth.ask(method, path, {}, token=auth.admin_token, version="2024-01-01")
