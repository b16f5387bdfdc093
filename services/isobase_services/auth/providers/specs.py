"""The providers that have endpoints of their own: addresses, scopes, and which requests give the profile.

Source: supabase/auth internal/api/provider/*.go. ``url`` in the settings takes the place of every address of a provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["OAUTH2_SPECS", "OIDC_SPECS", "PROVIDER_NAMES", "OAuth2Spec", "OidcSpec"]


@dataclass(slots=True, frozen=True)
class OAuth2Spec:
    """A provider with an API of its own. Paths are below ``auth``, ``exchange_host`` and ``api``."""

    auth: str
    authorize_path: str
    exchange_path: str
    api: str
    user_paths: tuple[str, ...]
    """What to ask for the profile; none: it is in the answer to the code."""
    exchange_host: Literal["auth", "api"] = "auth"
    api_path: str = ""
    """Part of the API's address wherever it is; ``iss`` holds it too."""
    api_path_elsewhere: str = ""
    """The same where ``url`` is set."""
    scopes: tuple[str, ...] = ()
    client_auth: Literal["client_secret_post", "client_secret_basic"] = "client_secret_post"
    needs_pkce: bool = False
    issuer: str = ""
    """``iss`` where it is not the API's address."""


@dataclass(slots=True, frozen=True)
class OidcSpec:
    """A provider that is known by its issuer: the profile is in the ID token."""

    issuer: str
    scopes: tuple[str, ...]
    authorize_url: str = ""
    exchange_url: str = ""
    """Both from the discovery document where they are empty."""
    response_mode: str = ""


OAUTH2_SPECS: dict[str, OAuth2Spec] = {
    "bitbucket": OAuth2Spec(
        auth="https://bitbucket.org",
        authorize_path="/site/oauth2/authorize",
        exchange_path="/site/oauth2/access_token",
        api="https://api.bitbucket.org",
        api_path="/2.0",
        user_paths=("/user", "/user/emails"),
        scopes=("account", "email"),
    ),
    "discord": OAuth2Spec(
        auth="https://discord.com",
        authorize_path="/api/oauth2/authorize",
        exchange_path="/api/oauth2/token",
        api="https://discord.com",
        api_path="/api",
        user_paths=("/users/@me",),
        scopes=("email", "identify"),
    ),
    "facebook": OAuth2Spec(
        auth="https://www.facebook.com",
        authorize_path="/dialog/oauth",
        exchange_host="api",
        exchange_path="/oauth/access_token",
        api="https://graph.facebook.com",
        user_paths=("/me?fields=email,first_name,last_name,name,picture",),
        scopes=("email",),
    ),
    "figma": OAuth2Spec(
        auth="https://www.figma.com",
        authorize_path="/oauth",
        exchange_host="api",
        exchange_path="/v1/oauth/token",
        api="https://api.figma.com",
        user_paths=("/v1/me",),
        scopes=("current_user:read",),
        client_auth="client_secret_basic",
    ),
    "fly": OAuth2Spec(
        auth="https://api.fly.io",
        authorize_path="/oauth/authorize",
        exchange_path="/oauth/token",
        api="https://api.fly.io",
        user_paths=("/oauth/token/info",),
        scopes=("read",),
    ),
    "github": OAuth2Spec(
        auth="https://github.com",
        authorize_path="/login/oauth/authorize",
        exchange_path="/login/oauth/access_token",
        api="https://api.github.com",
        api_path_elsewhere="/api/v3",
        user_paths=("/user", "/user/emails"),
        scopes=("user:email",),
    ),
    "gitlab": OAuth2Spec(
        auth="https://gitlab.com",
        authorize_path="/oauth/authorize",
        exchange_path="/oauth/token",
        api="https://gitlab.com",
        user_paths=("/api/v4/user", "/api/v4/user/emails"),
        scopes=("read_user",),
    ),
    "kakao": OAuth2Spec(
        auth="https://kauth.kakao.com",
        authorize_path="/oauth/authorize",
        exchange_path="/oauth/token",
        api="https://kapi.kakao.com",
        user_paths=("/v2/user/me",),
        scopes=("account_email", "profile_image", "profile_nickname"),
    ),
    "keycloak": OAuth2Spec(
        auth="",
        authorize_path="/protocol/openid-connect/auth",
        exchange_path="/protocol/openid-connect/token",
        api="",
        user_paths=("/protocol/openid-connect/userinfo",),
        scopes=("profile", "email"),
    ),
    "linkedin": OAuth2Spec(
        auth="https://api.linkedin.com",
        authorize_path="/oauth/v2/authorization",
        exchange_path="/oauth/v2/accessToken",
        api="https://api.linkedin.com",
        user_paths=(
            "/v2/me?projection=(id,firstName,lastName,profilePicture(displayImage~:playableStreams))",
            "/v2/emailAddress?q=members&projection=(elements*(handle~))",
        ),
        scopes=("r_emailaddress", "r_liteprofile"),
    ),
    "notion": OAuth2Spec(
        auth="https://api.notion.com",
        authorize_path="/v1/oauth/authorize",
        exchange_path="/v1/oauth/token",
        api="https://api.notion.com",
        user_paths=("/v1/users/me",),
        client_auth="client_secret_basic",
    ),
    "slack": OAuth2Spec(
        auth="https://slack.com",
        authorize_path="/oauth/authorize",
        exchange_path="/api/oauth.access",
        api="https://slack.com",
        api_path="/api",
        user_paths=("/openid.connect.userInfo",),
        scopes=("profile", "email", "openid"),
    ),
    "slack_oidc": OAuth2Spec(
        auth="https://slack.com",
        authorize_path="/openid/connect/authorize",
        exchange_path="/api/openid.connect.token",
        api="https://slack.com",
        api_path="/api",
        user_paths=("/openid.connect.userInfo",),
        scopes=("profile", "email", "openid"),
    ),
    "snapchat": OAuth2Spec(
        auth="https://accounts.snapchat.com",
        authorize_path="/accounts/oauth2/auth",
        exchange_path="/accounts/oauth2/token",
        api="https://kit.snapchat.com",
        user_paths=("/v1/me?query=%7Bme+%7B+externalId+displayName+bitmoji+%7B+avatar+id+%7D+email+%7D+%7D",),
        scopes=(
            "https://auth.snapchat.com/oauth2/api/user.external_id",
            "https://auth.snapchat.com/oauth2/api/user.display_name",
            "https://auth.snapchat.com/oauth2/api/user.bitmoji.avatar",
        ),
    ),
    "spotify": OAuth2Spec(
        auth="https://accounts.spotify.com",
        authorize_path="/authorize",
        exchange_path="/api/token",
        api="https://api.spotify.com/v1",
        user_paths=("/me",),
        scopes=("user-read-email",),
        client_auth="client_secret_basic",
    ),
    "twitch": OAuth2Spec(
        auth="https://id.twitch.tv",
        authorize_path="/oauth2/authorize",
        exchange_path="/oauth2/token",
        api="https://api.twitch.tv",
        user_paths=("/helix/users",),
        scopes=("user:read:email",),
    ),
    "workos": OAuth2Spec(
        auth="https://api.workos.com",
        authorize_path="/sso/authorize",
        exchange_path="/sso/token",
        api="https://api.workos.com",
        user_paths=(),
    ),
    "x": OAuth2Spec(
        auth="https://x.com",
        authorize_path="/i/oauth2/authorize",
        exchange_host="api",
        exchange_path="/2/oauth2/token",
        api="https://api.x.com",
        user_paths=("/2/users/me?user.fields=id,name,username,confirmed_email,profile_image_url,url,created_at",),
        scopes=("users.email", "tweet.read", "users.read", "offline.access"),
        client_auth="client_secret_basic",
        needs_pkce=True,
    ),
    "zoom": OAuth2Spec(
        auth="https://zoom.us",
        authorize_path="/oauth/authorize",
        exchange_path="/oauth/token",
        api="https://api.zoom.us",
        api_path="/v2",
        user_paths=("/users/me",),
        client_auth="client_secret_basic",
    ),
}

OIDC_SPECS: dict[str, OidcSpec] = {
    "apple": OidcSpec("https://appleid.apple.com", ("email", "name"), response_mode="form_post"),
    "google": OidcSpec("https://accounts.google.com", ("email", "profile")),
    "linkedin_oidc": OidcSpec(
        "https://www.linkedin.com/oauth",
        ("openid", "email", "profile"),
        authorize_url="https://api.linkedin.com/oauth/v2/authorization",
        exchange_url="https://api.linkedin.com/oauth/v2/accessToken",
    ),
    "vercel_marketplace": OidcSpec("https://marketplace.vercel.com", ()),
}

PROVIDER_NAMES = frozenset({*OAUTH2_SPECS, *OIDC_SPECS, "azure", "twitter"})
"""Names whose endpoints are known; any other is an issuer that is found by discovery."""
