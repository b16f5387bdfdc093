"""Sign-ins that the real GoTrue has and Isobase's server has not."""

from __future__ import annotations

from typing import Any

import pytest

from isobase.auth import AsyncGoTrueClient, web3_message
from isobase.auth.errors import AuthApiError
from tests.sdk.auth.upstream.conftest import Upstream
from tests.sdk.auth.upstream.wallets import EthereumWallet, SolanaWallet


@pytest.mark.capability("auth.sign_in.sign_in_with_web3")
@pytest.mark.parametrize("statement", [None, "I accept the terms."])
@pytest.mark.parametrize(
    ("chain", "kind", "fields"),
    [
        ("solana", SolanaWallet, {}),
        ("solana", SolanaWallet, {"nonce": "12345678", "chain_id": "solana:mainnet", "request_id": "r1"}),
        ("ethereum", EthereumWallet, {"chain_id": 1}),
        ("ethereum", EthereumWallet, {"chain_id": 1, "nonce": "12345678", "resources": ["https://example.com/terms"]}),
    ],
)
async def test_a_message_that_a_wallet_signed_signs_in(
    upstream: Upstream, chain: Any, kind: Any, fields: dict[str, Any], statement: str | None
) -> None:
    wallet = kind()
    message = web3_message(chain, wallet.address, upstream.app, statement=statement, **fields)
    async with AsyncGoTrueClient(url=upstream.url, auto_refresh_token=False) as client:
        found = await client.sign_in_with_web3({"chain": chain, "message": message, "signature": wallet.sign(message)})
        assert found.session is not None
        assert await client.get_session() == found.session
        assert found.user is not None
        assert found.user.app_metadata["provider"] == "web3"
        with pytest.raises(AuthApiError):
            await client.sign_in_with_web3({"chain": chain, "message": message, "signature": kind().sign(message)})


@pytest.mark.capability("auth.sign_in.sign_in_with_sso")
@pytest.mark.parametrize("flow_type", ["implicit", "pkce"])
async def test_a_companys_users_are_sent_to_its_sign_in_page(upstream: Upstream, flow_type: Any) -> None:
    async with AsyncGoTrueClient(url=upstream.url, flow_type=flow_type, auto_refresh_token=False) as client:
        found = await client.sign_in_with_sso({"domain": upstream.domain})
        assert found.url.startswith(f"{upstream.sign_in_page}?SAMLRequest=")
        with pytest.raises(AuthApiError) as refused:
            await client.sign_in_with_sso({"domain": "nobody.example"})
        assert refused.value.code == "sso_provider_not_found"
