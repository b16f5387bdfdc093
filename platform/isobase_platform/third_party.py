"""Tokens of issuers beside this project: whose they are, which keys verify them, and which database role they get.

The keys are fetched in the background and kept. A request waits for them only when a token names a key that is not known
yet, and then only as often as ``oidc.IssuerTiming`` allows.
Source: the Supabase command line, pkg/config, ``[auth.third_party.*]``; how roles are found is ours (docs/auth-providers.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isobase_platform.caller import Claims
from isobase_platform.config_auth.third_party import ThirdPartyIssuer
from isobase_platform.errors import ConfigurationError, TokenError, TokenRefusal
from isobase_platform.keys import KeyRing
from isobase_platform.oidc import Issuer, IssuerTiming, peek, verified_claims
from isobase_platform.outbound import OutboundError, OutboundHttp, hosts_of
from isobase_platform.tokens import VERIFIED_CACHE_SIZE_TOKENS, TokenVerifier

__all__ = ["MixedVerifier", "ThirdPartyTokens", "role_of"]

_log = logging.getLogger("isobase.third_party")

_PRIVILEGED_ROLES = frozenset({"service_role", "postgres", "authenticator", "dashboard_user"})
_PRIVILEGED_PREFIXES = ("supabase_", "pg_", "rds", "isobase")


@dataclass(slots=True, frozen=True)
class _Trusted:
    name: str
    settings: ThirdPartyIssuer
    issuer: Issuer


class ThirdPartyTokens:
    """The issuers that the settings name. Build it with ``of``; ``start`` begins to fetch their keys."""

    def __init__(self, trusted: Sequence[_Trusted], http: OutboundHttp, timing: IssuerTiming) -> None:
        self._by_issuer = {item.issuer.url: item for item in trusted}
        self._http = http
        self._timing = timing
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._unknown: tuple[_Trusted, str | None, str | None] | None = None

    @classmethod
    def of(cls, settings: Mapping[str, ThirdPartyIssuer], *, timing: IssuerTiming | None = None) -> ThirdPartyTokens:
        """The enabled ones of ``settings``. Raises ``ConfigurationError`` for one whose issuer is not named, or not by https.

        Plain http is for issuers on this machine.
        """
        enabled = {name: given for name, given in settings.items() if given.enabled}
        urls = [url for given in enabled.values() for url in (given.issuer_url, given.jwks_url)]
        http = OutboundHttp(hosts_of(urls))
        timing = timing or IssuerTiming()
        trusted: list[_Trusted] = []
        for name, given in enabled.items():
            url = given.issuer(name)
            for checked in (url, given.jwks_url or url):
                _check_url(name, checked)
            trusted.append(_Trusted(name, given, Issuer(http, url, jwks_url=given.jwks_url, timing=timing)))
        return cls(trusted, http, timing)

    def __bool__(self) -> bool:
        return bool(self._by_issuer)

    def start(self) -> None:
        """Begin to fetch the keys in the background, so that the first token does not wait for them."""
        if self._by_issuer and self._task is None:
            self._task = asyncio.create_task(self._keep_fresh())

    async def close(self) -> None:
        """Stop fetching and close the connections."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._http.close()

    def knows(self, issuer: str) -> bool:
        """Whether tokens with this ``iss`` are one of the issuers'."""
        return issuer.rstrip("/") in self._by_issuer

    def shares_users(self, issuer: str) -> bool:
        """Whether the issuer's users and sessions are this project's, too."""
        trusted = self._by_issuer.get(issuer.rstrip("/"))
        return trusted is not None and trusted.settings.shares_users

    @property
    def has_peers(self) -> bool:
        """Whether any of the issuers shares its users."""
        return any(item.settings.shares_users for item in self._by_issuer.values())

    def claims(self, token: str) -> Claims:
        """The claims of a token whose ``iss`` is known, with the role it gets. Raises ``TokenError``.

        Only keys that were fetched already are tried; ``prepare`` fetches.
        """
        seen = peek(token)
        trusted = self._by_issuer[seen.issuer.rstrip("/")]
        known = trusted.issuer.known_keys
        keys = known.candidates(seen.kid, seen.algorithm) if known is not None else []
        if not keys:
            # Where nobody prepares (a token within an open socket) the next attempt finds it.
            self._unknown = (trusted, seen.kid, seen.algorithm)
            self._wanted.set()
            raise TokenError("No key of the issuer verifies the token", TokenRefusal.UNKNOWN_KEY)
        payload = verified_claims(token, keys)
        _check_claims(payload, trusted)
        return Claims.from_payload({**payload, "role": role_of(payload, trusted.settings)})

    async def prepare(self, token: str) -> None:
        """Fetch the keys where ``token`` is one of the issuers' and names a key that is not known. Raises nothing."""
        try:
            seen = peek(token)
        except TokenError:
            return
        trusted = self._by_issuer.get(seen.issuer.rstrip("/"))
        if trusted is None:
            return
        known = trusted.issuer.known_keys
        if known is not None and known.candidates(seen.kid, seen.algorithm):
            return
        await self._fetch(trusted, seen.kid, seen.algorithm)

    def key_ids(self) -> frozenset[tuple[str, str | None]]:
        """(issuer, key id) of all keys that verify now; a change of it ends what was remembered."""
        return frozenset(
            (url, kid)
            for url, item in self._by_issuer.items()
            if item.issuer.known_keys is not None
            for kid in item.issuer.known_keys.ids
        )

    async def _keep_fresh(self) -> None:
        while True:
            for trusted in self._by_issuer.values():
                await self._fetch(trusted, None, None)
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.max_age_s):
                    await self._wanted.wait()
            if self._unknown is not None:
                unknown, self._unknown = self._unknown, None
                await self._fetch(*unknown)

    @staticmethod
    async def _fetch(trusted: _Trusted, kid: str | None, algorithm: str | None) -> None:
        try:
            await trusted.issuer.refresh(kid, algorithm)
        except OutboundError as error:
            _log.warning("keys of a token issuer are missing", extra={"issuer": trusted.name, "reason": error.message})


class MixedVerifier(TokenVerifier):
    """Verifies the project's tokens and those of other issuers; each by its own keys only, decided by ``iss``.

    A peer's token that names one of the project's own keys (their shared secret, an imported key) is verified by that.
    ``peers_only``: of the issuers only those whose users are the project's, too; to any other's token no key fits then.
    """

    def __init__(
        self,
        keys: KeyRing,
        third_party: ThirdPartyTokens,
        *,
        cache_size: int = VERIFIED_CACHE_SIZE_TOKENS,
        peers_only: bool = False,
    ) -> None:
        super().__init__(keys, cache_size=cache_size)
        self._third_party = third_party
        self._peers_only = peers_only
        self._key_ids = third_party.key_ids()

    def verify(self, token: str, *, leeway_s: int = 0, now_s: float | None = None) -> Claims:
        """As ``TokenVerifier.verify``; a token of another issuer carries the role that its settings give it."""
        key_ids = self._third_party.key_ids()
        if key_ids != self._key_ids:
            # An issuer took a key back: tokens that it signed are good no longer.
            self._key_ids = key_ids
            self._verified.clear()
        return super().verify(token, leeway_s=leeway_s, now_s=now_s)

    async def prepare(self, token: str) -> None:
        """Fetch what ``verify`` will want to know of ``token``."""
        if token not in self._verified:
            await self._third_party.prepare(token)

    def _verify_signature(self, token: str) -> Claims:
        try:
            seen = peek(token)
        except TokenError:
            return super()._verify_signature(token)
        is_peers = self._third_party.shares_users(seen.issuer)
        if is_peers and self._keys.candidates(seen.kid, seen.algorithm):
            return super()._verify_signature(token)
        is_theirs = is_peers if self._peers_only else self._third_party.knows(seen.issuer)
        return self._third_party.claims(token) if is_theirs else super()._verify_signature(token)


def role_of(payload: Mapping[str, Any], settings: ThirdPartyIssuer) -> str:
    """The database role of a verified token: its role claim, else the first of its groups that is mapped, else the default.

    Raises ``TokenError`` for a privileged role that the settings do not allow the issuer.
    """
    role = payload.get(settings.role_claim)
    if not isinstance(role, str) or not role:
        groups = payload.get(settings.groups_claim)
        listed = [group for group in groups if isinstance(group, str)] if isinstance(groups, list) else []
        role = next((settings.group_roles[group] for group in listed if group in settings.group_roles), None)
        # What the operator wrote into the settings needs no leave.
        return role or settings.default_role
    is_privileged = role in _PRIVILEGED_ROLES or role.startswith(_PRIVILEGED_PREFIXES)
    if is_privileged and role not in settings.privileged_roles:
        raise TokenError("The issuer may not name this role", TokenRefusal.CLAIMS)
    return role


def _check_claims(payload: Mapping[str, Any], trusted: _Trusted) -> None:
    named = payload.get("iss")
    if not isinstance(named, str) or named.rstrip("/") != trusted.issuer.url:
        raise TokenError("The token is another issuer's", TokenRefusal.CLAIMS)
    if payload.get("exp") is None:
        raise TokenError("The token has no end", TokenRefusal.CLAIMS)
    accepted = trusted.settings.audiences
    if not accepted:
        return
    # Cognito's access tokens name the app in client_id and have no aud.
    audience = payload.get("aud", payload.get("client_id"))
    given = audience if isinstance(audience, list) else [audience]
    if not any(item in accepted for item in given if isinstance(item, str)):
        raise TokenError("The token is for another audience", TokenRefusal.CLAIMS)


def _check_url(name: str, url: str) -> None:
    if not url:
        raise ConfigurationError(f"auth.third_party.{name} is enabled but does not say who issues the tokens")
    is_here = any(url.startswith(f"http://{host}") for host in ("127.0.0.1", "localhost", "[::1]"))
    if not url.startswith("https://") and not is_here:
        raise ConfigurationError(f"auth.third_party.{name}: {url} does not begin with https://")
