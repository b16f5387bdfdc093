"""The platform of one process: everything that a service is built from, opened together and closed together.

The composition root in ``isobase_deploy`` opens one ``Platform`` and hands it to each service's ``create_service``; no module
opens a connection on import.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from isobase_platform.bus import Bus, open_bus
from isobase_platform.config import Settings
from isobase_platform.key_keeper import KeyKeeper
from isobase_platform.keys import KeyRing, load_jwks_file, parse_jwks
from isobase_platform.observe import Metrics
from isobase_platform.pool import Pools
from isobase_platform.rls import RlsDoor
from isobase_platform.store import KeyValueStore, open_store
from isobase_platform.third_party import MixedVerifier, ThirdPartyTokens
from isobase_platform.tokens import ApiKeys, TokenIssuer, TokenVerifier

__all__ = ["Platform", "project_ring"]


@dataclass(slots=True, frozen=True)
class Platform:
    """What services share in a process. Build it with ``Platform.open``."""

    settings: Settings
    keys: KeyRing
    key_keeper: KeyKeeper
    """Brings the keys of the database into ``keys``; whoever serves starts it."""
    verifier: TokenVerifier
    """For every token that this project accepts."""
    third_party: ThirdPartyTokens
    own_verifier: TokenVerifier
    """For the project's own tokens alone."""
    user_verifier: TokenVerifier
    """What auth's routes take: the project's own tokens, and those of issuers whose users are the project's, too."""
    issuer: TokenIssuer
    api_keys: ApiKeys
    pools: Pools
    door: RlsDoor
    store: KeyValueStore
    bus: Bus
    metrics: Metrics
    at_close: AsyncExitStack
    """What services close when the platform does: the HTTP server has ended by then, so no request needs it any more."""

    def new_verifier(self, cache_size: int) -> TokenVerifier:
        """A verifier as ``verifier``, that remembers ``cache_size`` tokens of its own."""
        if self.third_party:
            return MixedVerifier(self.keys, self.third_party, cache_size=cache_size)
        return TokenVerifier(self.keys, cache_size=cache_size)

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Platform]:
        """Build the platform of ``settings`` and close it when the block ends; connections are made on first use.

        Raises ``ConfigurationError`` for unusable keys and for public defaults in production.
        """
        settings.check_production()
        keys = project_ring(settings)
        pools = Pools(settings)
        own_verifier = TokenVerifier(keys)
        third_party = ThirdPartyTokens.of(settings.auth.third_party)
        third_party.start()
        store = open_store(settings, pools)
        bus = open_bus(settings, pools)
        door = RlsDoor(settings)
        key_keeper = KeyKeeper(keys, settings.jwt_secret.get_secret_value(), pools, bus)
        at_close = AsyncExitStack()
        try:
            yield cls(
                settings=settings,
                keys=keys,
                key_keeper=key_keeper,
                verifier=MixedVerifier(keys, third_party) if third_party else own_verifier,
                third_party=third_party,
                own_verifier=own_verifier,
                user_verifier=MixedVerifier(keys, third_party, peers_only=True)
                if third_party.has_peers
                else own_verifier,
                issuer=TokenIssuer(keys),
                api_keys=ApiKeys(
                    anon=settings.anon_token,
                    service_role=settings.service_role_token,
                    publishable=settings.publishable_key.get_secret_value(),
                    secret=settings.secret_key.get_secret_value(),
                ),
                pools=pools,
                door=door,
                store=store,
                bus=bus,
                metrics=Metrics(),
                at_close=at_close,
            )
        finally:
            try:
                await at_close.aclose()
            finally:
                await key_keeper.close()
                await third_party.close()
                await bus.close()
                await store.close()
                await door.close()
                await pools.close()


def project_ring(settings: Settings) -> KeyRing:
    """The keys of the settings: the shared secret, and JWKs given as text or in a file. Raises ``ConfigurationError``."""
    jwks: list[dict[str, Any]] = []
    if settings.jwt_keys is not None:
        jwks = parse_jwks(settings.jwt_keys.get_secret_value())
    elif settings.jwt_keys_file is not None:
        jwks = load_jwks_file(settings.jwt_keys_file)
    return KeyRing(settings.jwt_secret.get_secret_value(), jwks, trusts_secret=settings.jwt_secret_verifies)
