"""What a provider says of a user, in one form for all providers.

Source: supabase/auth internal/api/provider/provider.go, Claims and UserProvidedData; contracts auth 2.18.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from isobase_services.auth.models import JsonObject

__all__ = ["Profile", "ProvidedEmail", "ProviderTokens", "as_list", "as_object", "as_text", "profile_of"]

_FLAGS = ("email_verified", "phone_verified")


@dataclass(slots=True, frozen=True)
class ProvidedEmail:
    """One address of a user at the provider, and whether the provider has proven it."""

    address: str
    is_verified: bool
    is_primary: bool = True


@dataclass(slots=True, frozen=True)
class Profile:
    """A user at a provider. ``claims`` become the identity's data; ``sub`` is among them."""

    emails: tuple[ProvidedEmail, ...]
    claims: JsonObject

    @property
    def subject(self) -> str:
        """The user's id at the provider."""
        return as_text(self.claims.get("sub"))

    @property
    def chosen_email(self) -> ProvidedEmail | None:
        """The primary address, else the last one; None without any."""
        primary = next((email for email in self.emails if email.is_primary), None)
        return primary or (self.emails[-1] if self.emails else None)

    @property
    def identity_data(self) -> JsonObject:
        """What is stored of the user: the claims, and whether the address and the number are proven."""
        chosen = self.chosen_email
        email = {"email": chosen.address} if chosen is not None else {}
        flags = {"email_verified": chosen is not None and chosen.is_verified, "phone_verified": False}
        return {**self.claims, **email, **flags}

    def with_name(self, name: str) -> Profile:
        """The same user with a name that came by another way."""
        return replace(self, claims={**self.claims, "name": name, "full_name": name}) if name else self


@dataclass(slots=True, frozen=True)
class ProviderTokens:
    """What a provider gave for a code; ``answer`` is its whole answer."""

    access_token: str
    refresh_token: str
    id_token: str
    answer: Mapping[str, Any]

    def __repr__(self) -> str:
        return "ProviderTokens(...)"


def profile_of(emails: list[ProvidedEmail], **claims: Any) -> Profile:
    """A profile without what is empty, as upstream leaves it out too."""
    named = [email for email in emails if email.address]
    return Profile(tuple(named), {name: value for name, value in claims.items() if value and name not in _FLAGS})


def as_text(value: object) -> str:
    """A string or a whole number as text; empty for anything else."""
    if isinstance(value, str):
        return value.replace("\x00", "")
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def as_object(value: object) -> Mapping[str, Any]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """A JSON array; an empty one for anything else."""
    return value if isinstance(value, list) else []
