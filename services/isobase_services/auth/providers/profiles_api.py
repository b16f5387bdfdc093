"""Profiles as the providers' own APIs give them: pure functions from answers to ``Profile``.

``issuer`` is the address that upstream puts into ``iss``. Source: supabase/auth internal/api/provider/*.go, one file each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from isobase_services.auth.providers.profile import (
    Profile,
    ProvidedEmail,
    as_list,
    as_object,
    as_text,
    profile_of,
)

__all__ = ["READERS", "Reader"]

Reader: TypeAlias = Callable[[str, Sequence[Any]], Profile]
"""(issuer, the answers in the order of the requests) -> profile."""

SNAPCHAT_ISSUER = "https://accounts.snapchat.com/accounts/oauth2/token"
EMAIL_LOGIN_AT_ZOOM = "100"


def _bitbucket(issuer: str, answers: Sequence[Any]) -> Profile:
    user, emails = as_object(answers[0]), as_list(as_object(answers[1]).get("values"))
    avatar = as_text(as_object(user.get("avatar")).get("href"))
    return _person(
        issuer,
        as_text(user.get("uuid")),
        _listed(emails, verified="is_confirmed", primary="is_primary"),
        name=as_text(user.get("display_name")),
        avatar=avatar,
    )


def _discord(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    user_id, name, image = as_text(user.get("id")), as_text(user.get("username")), as_text(user.get("avatar"))
    discriminator = as_text(user.get("discriminator"))
    if image:
        extension = "gif" if image.startswith("a_") else "png"
        avatar = f"https://cdn.discordapp.com/avatars/{user_id}/{image}.{extension}"
    else:
        number = int(discriminator) % 5 if discriminator.isascii() and discriminator.isdigit() else 0
        avatar = f"https://cdn.discordapp.com/embed/avatars/{number}.png"
    return profile_of(
        [ProvidedEmail(as_text(user.get("email")), user.get("verified") is True)],
        iss=issuer,
        sub=user_id,
        name=f"{name}#{discriminator}",
        picture=avatar,
        custom_claims={"global_name": as_text(user.get("global_name"))},
        avatar_url=avatar,
        full_name=name,
        provider_id=user_id,
    )


def _facebook(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    name = f"{as_text(user.get('first_name'))} {as_text(user.get('last_name'))}".strip()
    alias = as_text(user.get("name"))
    avatar = as_text(as_object(as_object(user.get("picture")).get("data")).get("url"))
    found = _person(
        issuer, as_text(user.get("id")), [_verified(user.get("email"))], name=name, avatar=avatar, nickname=alias
    )
    return Profile(found.emails, {**found.claims, **({"slug": alias} if alias else {})})


def _figma(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    user_id, name = as_text(user.get("id")), as_text(user.get("handle"))
    return profile_of(
        [_verified(user.get("email"))],
        iss=issuer,
        sub=user_id,
        name=name,
        avatar_url=as_text(user.get("img_url")),
        full_name=name,
        provider_id=user_id,
    )


def _fly(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    user_id = as_text(user.get("user_id"))
    custom = ("resource_owner_id", "organizations", "application", "scope", "created_at")
    return profile_of(
        [_verified(user.get("email"))],
        iss=issuer,
        sub=user_id,
        full_name=as_text(user.get("user_name")),
        provider_id=user_id,
        custom_claims={name: user.get(name) for name in custom},
    )


def _github(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    user_id, login, name = as_text(user.get("id")), as_text(user.get("login")), as_text(user.get("name"))
    return profile_of(
        _listed(as_list(answers[1]), verified="verified", primary="primary"),
        iss=issuer,
        sub=user_id,
        name=name,
        preferred_username=login,
        avatar_url=as_text(user.get("avatar_url")),
        full_name=name,
        provider_id=user_id,
        user_name=login,
    )


def _gitlab(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    # Of the further addresses GitLab does not say whether they are proven.
    emails = [ProvidedEmail(as_text(as_object(item).get("email")), False, False) for item in as_list(answers[1])]
    emails.append(ProvidedEmail(as_text(user.get("email")), bool(as_text(user.get("confirmed_at")))))
    return _person(
        issuer,
        as_text(user.get("id")),
        emails,
        name=as_text(user.get("name")),
        avatar=as_text(user.get("avatar_url")),
    )


def _kakao(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    account = as_object(user.get("kakao_account"))
    profile = as_object(account.get("profile"))
    user_id, name = as_text(user.get("id")), as_text(profile.get("nickname"))
    is_verified = account.get("is_email_verified") is True and account.get("is_email_valid") is True
    return profile_of(
        [ProvidedEmail(as_text(account.get("email")), is_verified)],
        iss=issuer,
        sub=user_id,
        name=name,
        preferred_username=name,
        avatar_url=as_text(profile.get("profile_image_url")),
        full_name=name,
        provider_id=user_id,
        user_name=name,
    )


def _keycloak(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    user_id, name = as_text(user.get("sub")), as_text(user.get("name"))
    known = ("name", "sub", "email", "email_verified")
    return profile_of(
        [ProvidedEmail(as_text(user.get("email")), user.get("email_verified") is True)],
        iss=issuer,
        sub=user_id,
        name=name,
        custom_claims={key: value for key, value in user.items() if key not in known},
        full_name=name,
        provider_id=user_id,
    )


def _linkedin(issuer: str, answers: Sequence[Any]) -> Profile:
    user, found = as_object(answers[0]), as_list(as_object(answers[1]).get("elements"))
    email = as_text(as_object(as_object(found[0] if found else None).get("handle~")).get("emailAddress"))
    name = f"{_localized(user.get('firstName'))} {_localized(user.get('lastName'))}".strip()
    images = as_list(as_object(as_object(user.get("profilePicture")).get("displayImage~")).get("elements"))
    identifiers = as_list(as_object(images[0] if images else None).get("identifiers"))
    avatar = as_text(as_object(identifiers[0] if identifiers else None).get("identifier"))
    # Only the primary address is told, and it is a proven one.
    return _person(issuer, as_text(user.get("id")), [_verified(email)], name=name, avatar=avatar)


def _notion(issuer: str, answers: Sequence[Any]) -> Profile:
    owner = as_object(as_object(as_object(answers[0]).get("bot")).get("owner"))
    user = as_object(owner.get("user"))
    return _person(
        issuer,
        as_text(user.get("id")),
        [_verified(as_object(user.get("person")).get("email"))],
        name=as_text(user.get("name")),
        avatar=as_text(user.get("avatar_url")),
    )


def _slack(issuer: str, answers: Sequence[Any]) -> Profile:
    return _slack_user(issuer, answers, is_verified=True)


def _slack_oidc(issuer: str, answers: Sequence[Any]) -> Profile:
    return _slack_user(issuer, answers, is_verified=as_object(answers[0]).get("email_verified") is True)


def _snapchat(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(as_object(as_object(answers[0]).get("data")).get("me"))
    user_id, name = as_text(user.get("externalId")), as_text(user.get("displayName"))
    avatar = as_text(as_object(user.get("bitmoji")).get("avatar"))
    found = _person(SNAPCHAT_ISSUER, user_id, [_verified(user.get("email"))], name=name, avatar=avatar)
    return Profile(found.emails, {**found.claims, **({"slug": name} if name else {})})


def _spotify(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    images = [as_object(image) for image in as_list(user.get("images"))]
    largest = max(images, key=_area, default={})
    # Spotify does not say whether an address is proven.
    return _person(
        issuer,
        as_text(user.get("id")),
        [ProvidedEmail(as_text(user.get("email")), False)],
        name=as_text(user.get("display_name")),
        avatar=as_text(as_object(largest).get("url")),
    )


def _twitch(issuer: str, answers: Sequence[Any]) -> Profile:
    users = as_list(as_object(answers[0]).get("data"))
    user = as_object(users[0] if users else None)
    login, shown = as_text(user.get("login")), as_text(user.get("display_name"))
    custom = ("broadcaster_type", "description", "type", "offline_image_url", "view_count")
    found = _person(
        issuer,
        as_text(user.get("id")),
        [_verified(user.get("email"))],
        name=login,
        avatar=as_text(user.get("profile_image_url")),
        nickname=shown,
        custom_claims={name: user.get(name, 0 if name == "view_count" else "") for name in custom},
    )
    return Profile(found.emails, {**found.claims, **({"slug": shown} if shown else {})})


def _twitter(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    handle = as_text(user.get("screen_name"))
    return _person(
        issuer,
        as_text(user.get("id_str")),
        [_verified(user.get("email"))],
        name=as_text(user.get("name")),
        avatar=as_text(user.get("profile_image_url_https")),
        preferred_username=handle,
        user_name=handle,
    )


def _workos(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(as_object(answers[0]).get("profile"))
    user_id = as_text(user.get("id"))
    name = f"{as_text(user.get('first_name'))} {as_text(user.get('last_name'))}".strip()
    custom = {key: as_text(user.get(key)) for key in ("connection_id", "organization_id")}
    return profile_of(
        [_verified(user.get("email"))],
        iss=issuer,
        sub=user_id,
        name=name,
        custom_claims=custom,
        full_name=name,
        provider_id=user_id,
    )


def _x(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(as_object(answers[0]).get("data"))
    handle = as_text(user.get("username"))
    # Only proven addresses are told.
    return _person(
        issuer,
        as_text(user.get("id")),
        [_verified(user.get("confirmed_email"))],
        name=as_text(user.get("name")),
        avatar=as_text(user.get("profile_image_url")),
        preferred_username=handle,
        profile=f"https://x.com/{handle}",
        website=as_text(user.get("url")),
        custom_claims={"created_at": as_text(user.get("created_at"))},
        user_name=handle,
    )


def _zoom(issuer: str, answers: Sequence[Any]) -> Profile:
    user = as_object(answers[0])
    name = f"{as_text(user.get('first_name'))} {as_text(user.get('last_name'))}".strip()
    # Who signs in at Zoom by e-mail has proven the address only where "verified" says so; others came by a provider.
    is_verified = as_text(user.get("login_type")) != EMAIL_LOGIN_AT_ZOOM or user.get("verified") not in (0, None, False)
    return _person(
        issuer,
        as_text(user.get("id")),
        [ProvidedEmail(as_text(user.get("email")), is_verified)],
        name=name,
        avatar=as_text(user.get("pic_url")),
    )


def _person(
    issuer: str, user_id: str, emails: list[ProvidedEmail], *, name: str, avatar: str, **claims: Any
) -> Profile:
    """The claims that most providers have, in their new and their old names."""
    return profile_of(
        emails,
        iss=issuer,
        sub=user_id,
        name=name,
        picture=avatar,
        avatar_url=avatar,
        full_name=name,
        provider_id=user_id,
        **claims,
    )


def _slack_user(issuer: str, answers: Sequence[Any], *, is_verified: bool) -> Profile:
    user = as_object(answers[0])
    return _person(
        issuer,
        as_text(user.get("https://slack.com/user_id")),
        [ProvidedEmail(as_text(user.get("email")), is_verified)],
        name=as_text(user.get("name")),
        avatar=as_text(user.get("picture")),
        custom_claims={"https://slack.com/team_id": as_text(user.get("https://slack.com/team_id"))},
    )


def _verified(address: object) -> ProvidedEmail:
    return ProvidedEmail(as_text(address), True)


def _listed(items: Sequence[Any], *, verified: str, primary: str) -> list[ProvidedEmail]:
    objects = [as_object(item) for item in items]
    return [
        ProvidedEmail(as_text(item.get("email")), item.get(verified) is True, item.get(primary) is True)
        for item in objects
    ]


def _localized(value: object) -> str:
    name = as_object(value)
    locale = as_object(name.get("preferredLocale"))
    return as_text(
        as_object(name.get("localized")).get(f"{as_text(locale.get('language'))}_{as_text(locale.get('country'))}")
    )


def _area(image: Any) -> int:
    height, width = image.get("height"), image.get("width")
    return height * width if isinstance(height, int) and isinstance(width, int) else 0


READERS: dict[str, Reader] = {
    "bitbucket": _bitbucket,
    "discord": _discord,
    "facebook": _facebook,
    "figma": _figma,
    "fly": _fly,
    "github": _github,
    "gitlab": _gitlab,
    "kakao": _kakao,
    "keycloak": _keycloak,
    "linkedin": _linkedin,
    "notion": _notion,
    "slack": _slack,
    "slack_oidc": _slack_oidc,
    "snapchat": _snapchat,
    "spotify": _spotify,
    "twitch": _twitch,
    "twitter": _twitter,
    "workos": _workos,
    "x": _x,
    "zoom": _zoom,
}
