"""Passkeys: sign-ins with what a device or a security key holds, without a password.

The ``options`` of a start go to the authenticator (in a browser ``navigator.credentials.create`` or ``.get``, after
``parseCreationOptionsFromJSON``); its answer, as JSON, comes back as ``credential``. Source: auth-js, ``lib/types.ts``;
supabase-py has none of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NotRequired

from typing_extensions import TypedDict

from isobase.auth.types._model import Model

__all__ = [
    "AsyncPasskeyAuthenticator",
    "AuthPasskeyAdminDeleteParams",
    "AuthPasskeyAdminListParams",
    "AuthPasskeyAuthenticationOptionsResponse",
    "AuthPasskeyListResponse",
    "AuthPasskeyRegistrationOptionsResponse",
    "PasskeyDeleteParams",
    "PasskeyListItem",
    "PasskeyMetadata",
    "PasskeyUpdateParams",
    "StartPasskeyAuthenticationOptions",
    "StartPasskeyAuthenticationParams",
    "SyncPasskeyAuthenticator",
    "VerifyPasskeyAuthenticationParams",
    "VerifyPasskeyRegistrationParams",
]

SyncPasskeyAuthenticator = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes the options, asks the authenticator, and gives its answer as JSON."""
AsyncPasskeyAuthenticator = Callable[[dict[str, Any]], dict[str, Any] | Awaitable[dict[str, Any]]]
"""``SyncPasskeyAuthenticator``, or a coroutine function of the same form."""


class AuthPasskeyRegistrationOptionsResponse(Model):
    """What the authenticator needs to make a passkey, good until ``expires_at`` (seconds since 1970)."""

    challenge_id: str
    options: dict[str, Any]
    expires_at: int


class AuthPasskeyAuthenticationOptionsResponse(Model):
    """What the authenticator needs to show a passkey, good until ``expires_at`` (seconds since 1970)."""

    challenge_id: str
    options: dict[str, Any]
    expires_at: int


class PasskeyMetadata(Model):
    """A new passkey."""

    id: str
    friendly_name: str | None = None
    created_at: datetime


class PasskeyListItem(Model):
    """A passkey of a user."""

    id: str
    friendly_name: str | None = None
    created_at: datetime
    last_used_at: datetime | None = None


AuthPasskeyListResponse = list[PasskeyListItem]


class VerifyPasskeyRegistrationParams(TypedDict):
    """The authenticator's answer to ``start_registration``."""

    challenge_id: str
    credential: dict[str, Any]


class StartPasskeyAuthenticationOptions(TypedDict):
    """The answer to a captcha, where the server asks for one."""

    captcha_token: NotRequired[str]


class StartPasskeyAuthenticationParams(TypedDict):
    """Nothing but options."""

    options: NotRequired[StartPasskeyAuthenticationOptions]


class VerifyPasskeyAuthenticationParams(TypedDict):
    """The authenticator's answer to ``start_authentication``."""

    challenge_id: str
    credential: dict[str, Any]


class PasskeyUpdateParams(TypedDict):
    """A passkey's new name, at most 120 characters."""

    passkey_id: str
    friendly_name: str


class PasskeyDeleteParams(TypedDict):
    """The passkey to delete."""

    passkey_id: str


class AuthPasskeyAdminListParams(TypedDict):
    """Whose passkeys."""

    user_id: str


class AuthPasskeyAdminDeleteParams(TypedDict):
    """A user's passkey."""

    user_id: str
    passkey_id: str
