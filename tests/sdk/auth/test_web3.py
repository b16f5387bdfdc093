"""The message a wallet signs and the request that follows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from isobase.auth import web3_message
from isobase.auth.errors import AuthInvalidCredentialsError
from isobase.auth.web3 import web3_call

ADDRESS = "0x71C7656EC7ab88b098defB751B7401B5f6d8976F"
AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def test_a_message_for_ethereum_follows_eip_4361() -> None:
    text = web3_message(
        "ethereum",
        ADDRESS,
        "https://app.example:8443/login",
        statement="I agree.",
        chain_id=1,
        nonce="12345678",
        issued_at=AT,
        expiration_time=AT,
        request_id="r1",
        resources=["https://app.example/terms"],
    )
    assert text == (
        "app.example:8443 wants you to sign in with your Ethereum account:\n"
        f"{ADDRESS.lower()}\n"
        "\n"
        "I agree.\n"
        "\n"
        "URI: https://app.example:8443/login\n"
        "Version: 1\n"
        "Chain ID: 1\n"
        "Nonce: 12345678\n"
        "Issued At: 2026-01-02T03:04:05.678Z\n"
        "Expiration Time: 2026-01-02T03:04:05.678Z\n"
        "Request ID: r1\n"
        "Resources:\n"
        "- https://app.example/terms"
    )


def test_a_message_for_ethereum_without_a_statement_keeps_its_empty_lines() -> None:
    text = web3_message("ethereum", ADDRESS, "https://app.example/", chain_id=1, issued_at=AT)
    assert f"{ADDRESS.lower()}\n\n\nURI: " in text


def test_a_message_for_solana_is_as_wallets_write_it() -> None:
    text = web3_message("solana", "4Nd1mYQzvgV8Vr3Z3nYb7pD6T8K2jF2eqWxY1Q2H3S4T", "https://app.example/", issued_at=AT)
    assert text == (
        "app.example wants you to sign in with your Solana account:\n"
        "4Nd1mYQzvgV8Vr3Z3nYb7pD6T8K2jF2eqWxY1Q2H3S4T\n"
        "\n"
        "Version: 1\n"
        "URI: https://app.example/\n"
        "Issued At: 2026-01-02T03:04:05.678Z"
    )


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        (("bitcoin", ADDRESS, "https://app.example"), {}),
        (("ethereum", "0x123", "https://app.example"), {"chain_id": 1}),
        (("ethereum", ADDRESS, "https://app.example"), {}),
        (("ethereum", ADDRESS, "app.example"), {"chain_id": 1}),
        (("ethereum", ADDRESS, "https://app.example"), {"chain_id": 1, "nonce": "short"}),
        (("ethereum", ADDRESS, "https://app.example"), {"chain_id": 1, "statement": "two\nlines"}),
    ],
)
def test_a_message_that_no_server_would_take_is_refused(arguments: tuple[Any, ...], fields: dict[str, Any]) -> None:
    with pytest.raises(AuthInvalidCredentialsError):
        web3_message(*arguments, **fields)


@pytest.mark.parametrize(
    ("chain", "signature", "sent"),
    [("ethereum", b"\x01\xff", "0x01ff"), ("ethereum", "0xabc", "0xabc"), ("solana", b"\xff\xfe\xfd", "__79")],
)
def test_a_signature_is_sent_in_its_chains_own_form(chain: Any, signature: bytes | str, sent: str) -> None:
    call = web3_call({"chain": chain, "message": "m", "signature": signature, "options": {"captcha_token": "c"}})
    assert (call.path, str(call.query)) == ("token", "grant_type=web3")
    assert call.body == {
        "chain": chain,
        "message": "m",
        "signature": sent,
        "gotrue_meta_security": {"captcha_token": "c"},
    }
