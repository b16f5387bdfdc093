"""OpenID Connect issuers as their clients see them: discovery documents and public keys, fetched seldom and kept.

``Issuer`` is one issuer with its document and its keys. Neighbours: ``outbound`` (how they are fetched), ``jwk_set`` (what a
key may verify), ``third_party`` and auth's providers (who ask).
"""

from isobase_platform.oidc.discovery import Discovery, parse_discovery
from isobase_platform.oidc.issuer import Issuer, IssuerTiming
from isobase_platform.oidc.signed import peek, verified_claims

__all__ = ["Discovery", "Issuer", "IssuerTiming", "parse_discovery", "peek", "verified_claims"]
