"""The settings of sign-in with other providers: config.toml's ``[auth.external.NAME]``.

Names that GoTrue knows (``github``, ``google``, ...) have their endpoints built in; any other name is an OpenID Connect
issuer whose address is ``url``. Source: supabase/auth internal/conf/configuration.go, OAuthProviderConfiguration.
"""

from __future__ import annotations

from pydantic import Field, SecretStr

from isobase_platform.config_group import SettingsGroup

__all__ = ["ExternalProvider"]


class ExternalProvider(SettingsGroup):
    """One [auth.external.NAME] table."""

    enabled: bool = False
    """Whether users may sign in with the provider."""
    client_id: str = ""
    """The client's id at the provider; further ids after commas are accepted as audiences of ID tokens."""
    secret: SecretStr = SecretStr("")
    redirect_uri: str = ""
    """Where the provider sends the browser back to; default: the auth URL and ``/callback``."""
    url: str = ""
    """The provider's address where it is not the public one: a self-hosted GitLab, a tenant, an OpenID Connect issuer."""
    skip_nonce_check: bool = False
    """Whether ID tokens are taken without comparing their nonce."""
    email_optional: bool = False
    """Whether a profile without an e-mail address may sign in."""
    scopes: tuple[str, ...] = Field(default=())
    """Scopes asked for beside the provider's own."""

    @property
    def client_ids(self) -> tuple[str, ...]:
        """The ids of ``client_id``, the first of which signs in with a redirect."""
        return tuple(part.strip() for part in self.client_id.split(",") if part.strip())
