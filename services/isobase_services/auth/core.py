"""What every flow of auth works with, made once per process."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from isobase_platform.runtime import Platform
from isobase_services.auth.captcha import Captcha
from isobase_services.auth.hooks import Hooks
from isobase_services.auth.limits import Limits
from isobase_services.auth.messages import Messages
from isobase_services.auth.passwords import PasswordHasher
from isobase_services.auth.providers import Providers
from isobase_services.auth.pwned import PwnedPasswords

if TYPE_CHECKING:
    from isobase_platform.config import AuthSettings
    from isobase_platform.errors import IsobaseError
    from isobase_platform.pool import Connection

_log = logging.getLogger("isobase.auth.providers")

__all__ = ["LOGIN_ROLE", "AuthCore"]

LOGIN_ROLE = "supabase_auth_admin"
"""The database role that owns the schema ``auth``; the service's own statements run as it."""


@dataclass(slots=True, frozen=True)
class AuthCore:
    """The platform's parts, the password threads and the way out for mail, handed to every flow."""

    platform: Platform
    hasher: PasswordHasher
    hooks: Hooks
    messages: Messages
    limits: Limits
    captcha: Captcha
    pwned: PwnedPasswords
    providers: Providers

    @classmethod
    def of(cls, platform: Platform) -> AuthCore:
        """Build from the platform; close ``hasher``, ``hooks``, ``messages``, ``captcha`` and ``providers`` with the service.

        Raises ``ConfigurationError`` for a hook or a mail template that is set up wrongly.
        """
        auth = platform.settings.auth
        hooks, limits = Hooks(auth.hook, platform.pools, LOGIN_ROLE), Limits(platform)
        return cls(
            platform=platform,
            hasher=PasswordHasher(cost=auth.bcrypt_cost, workers=auth.password_hash_workers),
            hooks=hooks,
            messages=Messages.of(platform, hooks, limits),
            limits=limits,
            captcha=Captcha(auth.captcha),
            pwned=PwnedPasswords(auth.security.pwned_passwords),
            providers=Providers(auth, platform.settings.auth_url),
        )

    def log_provider_failure(self, name: str, error: IsobaseError) -> None:
        """Tell the log why a provider could not be used; the caller learns only that."""
        _log.warning("a provider failed", extra={"provider": name, "reason": error.message})

    @property
    def settings(self) -> AuthSettings:
        """The settings of auth."""
        return self.platform.settings.auth

    @property
    def token_issuer(self) -> str:
        """The ``iss`` of access tokens, empty where they have none: the setting, else the URL of ``/auth/v1``."""
        configured = self.settings.jwt_issuer
        return self.platform.settings.auth_url if configured is None else configured

    @staticmethod
    def now() -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection as ``LOGIN_ROLE`` where every statement is its own transaction."""
        async with self.platform.pools.acquire(LOGIN_ROLE) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection as ``LOGIN_ROLE`` in one transaction."""
        async with self.platform.pools.transaction(LOGIN_ROLE) as connection:
            yield connection
