"""Sign-in with a wallet: the message that the wallet signs, and what is sent.

Source: EIP-4361 (Sign-In with Ethereum) for the message and Phantom's "Sign In With Solana", which Supabase's auth
server checks; supabase-js's ``signInWithWeb3`` for the arguments and the request.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit

from httpx import QueryParams

from isobase.auth.calls import Call
from isobase.auth.errors import AuthInvalidCredentialsError
from isobase.auth.types.web3 import Web3Chain, Web3Credentials, Web3Message

__all__ = ["web3_call", "web3_message"]

CHAIN_NAMES: dict[str, str] = {"ethereum": "Ethereum", "solana": "Solana"}
NONCE_MIN_CHARS = 8

_ETHEREUM_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def web3_call(credentials: Web3Credentials) -> Call:
    """Sign in with a signed message. AuthInvalidCredentialsError for another chain, or without message or signature."""
    chain, message, signature = credentials.get("chain"), credentials.get("message"), credentials.get("signature")
    if chain not in CHAIN_NAMES:
        raise AuthInvalidCredentialsError(f"Unsupported chain: {chain!r}; it is 'ethereum' or 'solana'")
    if not message or not signature:
        raise AuthInvalidCredentialsError("You must provide a message and its signature")
    body: dict[str, Any] = {"chain": chain, "message": message, "signature": _signature_text(chain, signature)}
    options = cast("Mapping[str, Any]", credentials.get("options") or {})
    if options.get("captcha_token"):
        body["gotrue_meta_security"] = {"captcha_token": options["captcha_token"]}
    return Call("token", body, QueryParams(grant_type="web3"))


def _signature_text(chain: str, signature: str | bytes) -> str:
    """Write a signature as the server reads it: hexadecimal for Ethereum, base64url for Solana. Texts are sent as they
    are.
    """
    if isinstance(signature, str):
        return signature
    if chain == "ethereum":
        return "0x" + bytes(signature).hex()
    return base64.urlsafe_b64encode(bytes(signature)).rstrip(b"=").decode()


def web3_message(chain: Web3Chain, address: str, url: str, *, statement: str | None = None, **fields: Any) -> str:
    """Write the message for a wallet to sign.

    Parameters: ``address`` of the wallet (``0x`` and 40 hexadecimal digits, or base58); ``url`` of the app, as the auth
    server knows it; ``statement`` one line for the user; ``fields``: ``chain_id`` (Ethereum needs it: 1 is the main
    network), ``nonce`` (8 characters or more), ``issued_at`` (now), ``expiration_time``, ``not_before`` (datetimes),
    ``request_id``, ``resources`` (list of URLs).

    Raises AuthInvalidCredentialsError for what no wallet would sign or no server accept.
    """
    given = cast("Web3Message", fields)
    place = urlsplit(url)
    if chain not in CHAIN_NAMES:
        raise AuthInvalidCredentialsError(f"Unsupported chain: {chain!r}; it is 'ethereum' or 'solana'")
    if not place.netloc:
        raise AuthInvalidCredentialsError(f"The address of the app is no URL: {url!r}")
    if statement and "\n" in statement:
        raise AuthInvalidCredentialsError("The statement must be one line")
    nonce, chain_id = given.get("nonce"), given.get("chain_id")
    if nonce is not None and len(nonce) < NONCE_MIN_CHARS:
        raise AuthInvalidCredentialsError(f"The nonce must have {NONCE_MIN_CHARS} characters or more")
    if chain == "ethereum":
        if not _ETHEREUM_ADDRESS.fullmatch(address):
            raise AuthInvalidCredentialsError(f"No Ethereum address: {address!r}")
        if not isinstance(chain_id, int):
            raise AuthInvalidCredentialsError("Ethereum needs the chain_id, such as 1")
        address = address.lower()
    lines = [f"{place.netloc} wants you to sign in with your {CHAIN_NAMES[chain]} account:", address, ""]
    if statement:
        lines += [statement, ""]
    elif chain == "ethereum":
        lines.append("")
    lines += ["Version: 1", f"URI: {url}"] if chain == "solana" else [f"URI: {url}", "Version: 1"]
    issued_at = _time_text(given.get("issued_at") or datetime.now(UTC))
    optional: list[tuple[str, object]] = [
        ("Issued At", issued_at),
        ("Expiration Time", given.get("expiration_time")),
        ("Not Before", given.get("not_before")),
        ("Request ID", given.get("request_id")),
    ]
    first: list[tuple[str, object]] = [("Chain ID", chain_id), ("Nonce", nonce)]
    for name, value in first + optional if chain == "ethereum" else optional[:3] + first + optional[3:]:
        if value is not None:
            lines.append(f"{name}: {_time_text(value) if isinstance(value, datetime) else value}")
    if resources := given.get("resources"):
        lines += ["Resources:", *(f"- {one}" for one in resources)]
    return "\n".join(lines)


def _time_text(value: datetime | str) -> str:
    if isinstance(value, str):
        return value
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
