"""The settings of token issuers beside this project: config.toml's ``[auth.third_party.NAME]``.

Their tokens are accepted by the data API, storage and realtime as they stand. ``firebase``, ``auth0``, ``aws_cognito``,
``clerk`` and ``workos`` have an issuer made of their own fields, as in the Supabase command line (pkg/config, tpaFirebase and
its siblings); any other name says its ``issuer_url``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import Field

from isobase_platform.config_group import SettingsGroup

__all__ = ["ThirdPartyIssuer"]


class ThirdPartyIssuer(SettingsGroup):
    """One [auth.third_party.NAME] table."""

    enabled: bool = False
    project_id: str = ""
    """firebase: the project."""
    tenant: str = ""
    """auth0: the tenant."""
    tenant_region: str = ""
    """auth0: the tenant's region, empty for the oldest."""
    user_pool_id: str = ""
    """aws_cognito: the user pool."""
    user_pool_region: str = ""
    """aws_cognito: its region."""
    domain: str = ""
    """clerk: the instance's domain."""
    issuer_url: str = ""
    """workos and any other: the ``iss`` of the tokens; its discovery document says where the keys are."""
    jwks_url: str = ""
    """Where the keys are, for an issuer without a discovery document."""
    audiences: tuple[str, ...] = ()
    """Accepted ``aud`` (or ``client_id``) values; empty: any."""
    role_claim: str = "role"
    """The claim that names the database role."""
    default_role: str = "authenticated"
    """The role of a token without that claim."""
    groups_claim: str = "cognito:groups"
    """A list of groups, read where the role claim is absent."""
    group_roles: Mapping[str, str] = Field(default_factory=dict)
    """Group -> role; the first of the token's groups that is listed decides."""
    privileged_roles: tuple[str, ...] = ()
    """Roles like ``service_role`` that this issuer may name; all such are refused by default."""
    shares_users: bool = False
    """Its users and sessions are this project's too, with the same ids (a Supabase project that is being moved here): auth's
    own routes take its tokens as well, for as long as the user and the session are there."""

    def issuer(self, name: str) -> str:
        """The issuer's URL, without a slash at its end; empty where the fields of ``name`` are not all given."""
        build = _ISSUERS.get(name)
        return (self.issuer_url or (build(self) if build is not None else "")).rstrip("/")


def _firebase(given: ThirdPartyIssuer) -> str:
    return f"https://securetoken.google.com/{given.project_id}" if given.project_id else ""


def _auth0(given: ThirdPartyIssuer) -> str:
    region = f".{given.tenant_region}" if given.tenant_region else ""
    return f"https://{given.tenant}{region}.auth0.com" if given.tenant else ""


def _aws_cognito(given: ThirdPartyIssuer) -> str:
    if not (given.user_pool_id and given.user_pool_region):
        return ""
    return f"https://cognito-idp.{given.user_pool_region}.amazonaws.com/{given.user_pool_id}"


def _clerk(given: ThirdPartyIssuer) -> str:
    return f"https://{given.domain}" if given.domain else ""


_ISSUERS: dict[str, Callable[[ThirdPartyIssuer], str]] = {
    "firebase": _firebase,
    "auth0": _auth0,
    "aws_cognito": _aws_cognito,
    "clerk": _clerk,
}
