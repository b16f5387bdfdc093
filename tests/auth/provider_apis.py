"""How the providers with an API of their own answer, and what identity comes of it."""

from __future__ import annotations

from typing import Any

EMAIL = "alice@example.com"
PICTURE = "https://img.example.com/alice.png"

TOKEN = {"access_token": "at", "refresh_token": "rt", "token_type": "bearer"}

# name -> (answers by path, is the address proven, identity data beside iss, email and the flags)
PROVIDERS: dict[str, tuple[dict[str, Any], bool, dict[str, Any]]] = {
    "bitbucket": (
        {
            "/site/oauth2/access_token": TOKEN,
            "/2.0/user": {"display_name": "Alice", "uuid": "{u}", "avatar": {"href": PICTURE}},
            "/2.0/user/emails": {"values": [{"email": EMAIL, "is_primary": True, "is_confirmed": True}]},
        },
        True,
        {"sub": "{u}", "name": "Alice", "picture": PICTURE},
    ),
    "discord": (
        {
            "/api/oauth2/token": TOKEN,
            "/api/users/@me": {
                "id": "7",
                "username": "alice",
                "global_name": "Alice A",
                "discriminator": "0012",
                "avatar": "a_x",
                "email": EMAIL,
                "verified": True,
            },
        },
        True,
        {
            "sub": "7",
            "name": "alice#0012",
            "full_name": "alice",
            "picture": "https://cdn.discordapp.com/avatars/7/a_x.gif",
            "custom_claims": {"global_name": "Alice A"},
        },
    ),
    "facebook": (
        {
            "/oauth/access_token": TOKEN,
            "/me": {
                "id": "9",
                "email": EMAIL,
                "first_name": "Alice",
                "last_name": "A",
                "name": "ali",
                "picture": {"data": {"url": PICTURE}},
            },
        },
        True,
        {"sub": "9", "name": "Alice A", "nickname": "ali", "slug": "ali", "picture": PICTURE},
    ),
    "figma": (
        {"/v1/oauth/token": TOKEN, "/v1/me": {"id": "f", "email": EMAIL, "handle": "Alice", "img_url": PICTURE}},
        True,
        {"sub": "f", "name": "Alice", "avatar_url": PICTURE},
    ),
    "fly": (
        {
            "/oauth/token": TOKEN,
            "/oauth/token/info": {"user_id": "fl", "user_name": "Alice", "email": EMAIL, "organizations": []},
        },
        True,
        {"sub": "fl", "full_name": "Alice"},
    ),
    "github": (
        {
            "/login/oauth/access_token": "access_token=at&refresh_token=rt&token_type=bearer",
            "/api/v3/user": {"id": 42, "login": "alice", "name": "Alice", "avatar_url": PICTURE},
            "/api/v3/user/emails": [
                {"email": "old@example.com", "primary": False, "verified": True},
                {"email": EMAIL, "primary": True, "verified": True},
            ],
        },
        True,
        {"sub": "42", "name": "Alice", "user_name": "alice", "preferred_username": "alice", "avatar_url": PICTURE},
    ),
    "gitlab": (
        {
            "/oauth/token": TOKEN,
            "/api/v4/user": {"id": 5, "email": EMAIL, "name": "Alice", "avatar_url": PICTURE, "confirmed_at": "2020"},
            "/api/v4/user/emails": [{"id": 1, "email": "second@example.com"}],
        },
        True,
        {"sub": "5", "name": "Alice", "picture": PICTURE},
    ),
    "kakao": (
        {
            "/oauth/token": TOKEN,
            "/v2/user/me": {
                "id": 6,
                "kakao_account": {
                    "profile": {"nickname": "Alice", "profile_image_url": PICTURE},
                    "email": EMAIL,
                    "is_email_valid": True,
                    "is_email_verified": True,
                },
            },
        },
        True,
        {"sub": "6", "name": "Alice", "user_name": "Alice", "avatar_url": PICTURE},
    ),
    "keycloak": (
        {
            "/protocol/openid-connect/token": TOKEN,
            "/protocol/openid-connect/userinfo": {
                "sub": "k",
                "name": "Alice",
                "email": EMAIL,
                "email_verified": True,
                "groups": ["staff"],
            },
        },
        True,
        {"sub": "k", "name": "Alice", "custom_claims": {"groups": ["staff"]}},
    ),
    "linkedin": (
        {
            "/oauth/v2/accessToken": TOKEN,
            "/v2/me": {
                "id": "li",
                "firstName": {
                    "localized": {"en_US": "Alice"},
                    "preferredLocale": {"language": "en", "country": "US"},
                },
                "lastName": {"localized": {"en_US": "A"}, "preferredLocale": {"language": "en", "country": "US"}},
                "profilePicture": {"displayImage~": {"elements": [{"identifiers": [{"identifier": PICTURE}]}]}},
            },
            "/v2/emailAddress": {"elements": [{"handle~": {"emailAddress": EMAIL}}]},
        },
        True,
        {"sub": "li", "name": "Alice A", "picture": PICTURE},
    ),
    "notion": (
        {
            "/v1/oauth/token": TOKEN,
            "/v1/users/me": {
                "bot": {
                    "owner": {"user": {"id": "n", "name": "Alice", "avatar_url": PICTURE, "person": {"email": EMAIL}}}
                }
            },
        },
        True,
        {"sub": "n", "name": "Alice", "picture": PICTURE},
    ),
    "slack": (
        {
            "/api/oauth.access": {"ok": True, **TOKEN},
            "/api/openid.connect.userInfo": {
                "https://slack.com/user_id": "s",
                "https://slack.com/team_id": "t",
                "email": EMAIL,
                "name": "Alice",
                "picture": PICTURE,
            },
        },
        True,
        {"sub": "s", "name": "Alice", "custom_claims": {"https://slack.com/team_id": "t"}},
    ),
    "slack_oidc": (
        {
            "/api/openid.connect.token": TOKEN,
            "/api/openid.connect.userInfo": {
                "https://slack.com/user_id": "s",
                "https://slack.com/team_id": "t",
                "email": EMAIL,
                "email_verified": False,
                "name": "Alice",
            },
        },
        False,
        {"sub": "s", "name": "Alice"},
    ),
    "snapchat": (
        {
            "/accounts/oauth2/token": TOKEN,
            "/v1/me": {
                "data": {
                    "me": {"externalId": "sn", "displayName": "Ali", "bitmoji": {"avatar": PICTURE}, "email": EMAIL}
                }
            },
        },
        True,
        {"sub": "sn", "name": "Ali", "slug": "Ali", "picture": PICTURE},
    ),
    "spotify": (
        {
            "/api/token": TOKEN,
            "/me": {
                "id": "sp",
                "display_name": "Alice",
                "email": EMAIL,
                "images": [
                    {"url": "https://img.example.com/small.png", "height": 64, "width": 64},
                    {"url": PICTURE, "height": 300, "width": 300},
                ],
            },
        },
        False,
        {"sub": "sp", "name": "Alice", "picture": PICTURE},
    ),
    "twitch": (
        {
            "/oauth2/token": TOKEN,
            "/helix/users": {
                "data": [
                    {
                        "id": "tw",
                        "login": "alice",
                        "display_name": "Alice",
                        "profile_image_url": PICTURE,
                        "email": EMAIL,
                    }
                ]
            },
        },
        True,
        {"sub": "tw", "name": "alice", "nickname": "Alice", "slug": "Alice", "picture": PICTURE},
    ),
    "workos": (
        {
            "/sso/token": {
                **TOKEN,
                "profile": {
                    "id": "w",
                    "email": EMAIL,
                    "first_name": "Alice",
                    "last_name": "A",
                    "connection_id": "c",
                    "organization_id": "o",
                },
            }
        },
        True,
        {"sub": "w", "name": "Alice A", "custom_claims": {"connection_id": "c", "organization_id": "o"}},
    ),
    "x": (
        {
            "/2/oauth2/token": TOKEN,
            "/2/users/me": {
                "data": {
                    "id": "x1",
                    "name": "Alice",
                    "username": "ali",
                    "confirmed_email": EMAIL,
                    "url": "https://a.example.com",
                }
            },
        },
        True,
        {
            "sub": "x1",
            "name": "Alice",
            "user_name": "ali",
            "profile": "https://x.com/ali",
            "website": "https://a.example.com",
        },
    ),
    "zoom": (
        {
            "/oauth/token": TOKEN,
            "/v2/users/me": {
                "id": "z",
                "first_name": "Alice",
                "last_name": "A",
                "email": EMAIL,
                "verified": 0,
                "login_type": "100",
                "pic_url": PICTURE,
            },
        },
        False,
        {"sub": "z", "name": "Alice A", "picture": PICTURE},
    ),
}
