"""Profiles as ID tokens give them: pure functions from verified claims to ``Profile``, one per issuer with ways of its own.

Source: supabase/auth internal/api/provider/oidc.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from isobase_services.auth.models import JsonObject
from isobase_services.auth.providers.profile import Profile, ProvidedEmail, as_text, profile_of

__all__ = ["ID_TOKEN_READERS", "IdTokenReader", "generic"]

IdTokenReader: TypeAlias = Callable[[JsonObject], Profile]

_TEXT_CLAIMS = (
    *("iss", "sub", "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile"),
    *("picture", "website", "gender", "birthdate", "zoneinfo", "locale", "phone", "full_name", "avatar_url", "slug"),
    *("provider_id", "user_name"),
)
_AZURE_STANDARD_CLAIMS = frozenset(
    {
        *("aud", "iss", "iat", "nbf", "exp", "c_hash", "at_hash", "aio", "nonce", "rh", "uti", "jti", "ver", "sub"),
        *("name", "preferred_username"),
    }
)


def generic(claims: JsonObject) -> Profile:
    """The standard claims of any OpenID Connect issuer."""
    known: dict[str, Any] = {name: as_text(claims.get(name)) for name in _TEXT_CLAIMS}
    for name in ("aud", "iat", "exp", "updated_at", "custom_claims"):
        known[name] = claims.get(name)
    return profile_of([ProvidedEmail(as_text(claims.get("email")), claims.get("email_verified") is True)], **known)


def _google(claims: JsonObject) -> Profile:
    name, picture, subject = _texts(claims, "name", "picture", "sub")
    is_verified = claims.get("email_verified") is True or claims.get("verified_email") is True
    hosted = as_text(claims.get("hd"))
    return profile_of(
        [ProvidedEmail(as_text(claims.get("email")), is_verified)],
        iss=as_text(claims.get("iss")),
        sub=subject,
        name=name,
        picture=picture,
        avatar_url=picture,
        full_name=name,
        provider_id=subject,
        custom_claims={"hd": hosted} if hosted else None,
    )


def _apple(claims: JsonObject) -> Profile:
    subject = as_text(claims.get("sub"))
    custom: dict[str, Any] = {}
    if claims.get("is_private_email") is not None:
        # A switch or its name.
        custom["is_private_email"] = claims["is_private_email"] in (True, "true", "1", "t", "T", "TRUE", "True")
    if isinstance(claims.get("auth_time"), int | float):
        custom["auth_time"] = claims["auth_time"]
    if as_text(claims.get("transfer_sub")):
        custom["transfer_sub"] = as_text(claims["transfer_sub"])
    return profile_of(
        [ProvidedEmail(as_text(claims.get("email")), True)],
        iss=as_text(claims.get("iss")),
        sub=subject,
        provider_id=subject,
        custom_claims=custom,
    )


def _azure(claims: JsonObject) -> Profile:
    subject = as_text(claims.get("sub"))
    # xms_edov says whether the owner of the address's domain was proven; without it only single tenants give addresses.
    owner = claims.get("xms_edov")
    is_verified = owner is None or owner is True or owner in ("1", "true")
    return profile_of(
        [ProvidedEmail(as_text(claims.get("email")), is_verified)],
        iss=as_text(claims.get("iss")),
        sub=subject,
        provider_id=subject,
        preferred_username=as_text(claims.get("preferred_username")),
        full_name=as_text(claims.get("name")),
        custom_claims={name: value for name, value in claims.items() if name not in _AZURE_STANDARD_CLAIMS},
    )


def _facebook(claims: JsonObject) -> Profile:
    name, picture, subject = _texts(claims, "name", "picture", "sub")
    return profile_of(
        [ProvidedEmail(as_text(claims.get("email")), True)],
        iss=as_text(claims.get("iss")),
        sub=subject,
        name=name,
        picture=picture,
        provider_id=subject,
    )


def _kakao(claims: JsonObject) -> Profile:
    nickname, picture, subject = _texts(claims, "nickname", "picture", "sub")
    return profile_of(
        [ProvidedEmail(as_text(claims.get("email")), True)],
        iss=as_text(claims.get("iss")),
        sub=subject,
        name=nickname,
        preferred_username=nickname,
        provider_id=subject,
        picture=picture,
    )


def _linkedin(claims: JsonObject) -> Profile:
    subject, given, family, picture = _texts(claims, "sub", "given_name", "family_name", "picture")
    is_verified = claims.get("email_verified") in (True, "true", "True", "TRUE", "1", "t", "T")
    return profile_of(
        [ProvidedEmail(as_text(claims.get("email")), is_verified)],
        iss=as_text(claims.get("iss")),
        sub=subject,
        name=f"{given} {family}".strip(),
        given_name=given,
        family_name=family,
        locale=as_text(claims.get("locale")),
        picture=picture,
        provider_id=subject,
    )


def _snapchat(claims: JsonObject) -> Profile:
    found = generic(claims)
    return Profile(tuple(ProvidedEmail(email.address, True) for email in found.emails), found.claims)


def _vercel_marketplace(claims: JsonObject) -> Profile:
    subject = as_text(claims.get("sub"))
    if as_text(claims.get("global_user_id")):
        subject = f"global_user_id:{as_text(claims['global_user_id'])}"
    name, picture = _texts(claims, "user_name", "user_avatar_url")
    return profile_of(
        [ProvidedEmail(as_text(claims.get("user_email")), True)],
        iss=as_text(claims.get("iss")),
        sub=subject,
        provider_id=subject,
        name=name,
        picture=picture,
    )


def _texts(claims: JsonObject, *names: str) -> tuple[str, ...]:
    return tuple(as_text(claims.get(name)) for name in names)


ID_TOKEN_READERS: dict[str, IdTokenReader] = {
    "apple": _apple,
    "azure": _azure,
    "facebook": _facebook,
    "google": _google,
    "kakao": _kakao,
    "linkedin_oidc": _linkedin,
    "snapchat": _snapchat,
    "vercel_marketplace": _vercel_marketplace,
}
