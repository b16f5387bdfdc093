"""What a sign-in with a wallet takes.

Source: supabase-js, ``Web3Credentials``; the wallet's own part (asking it to sign) is the app's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NotRequired

from typing_extensions import TypedDict

__all__ = ["Web3Chain", "Web3Credentials", "Web3CredentialsOptions", "Web3Message"]

Web3Chain = Literal["ethereum", "solana"]


class Web3CredentialsOptions(TypedDict):
    """The answer to a captcha, where the server asks for one."""

    captcha_token: NotRequired[str]


class Web3Credentials(TypedDict):
    """A message (see ``isobase.auth.web3_message``) and its signature.

    ``signature``: bytes, or text as the wallet gave it (``0x`` and hexadecimal for Ethereum, base64url for Solana).
    """

    chain: Web3Chain
    message: str
    signature: str | bytes
    options: NotRequired[Web3CredentialsOptions]


class Web3Message(TypedDict, total=False):
    """The optional fields of a message; times are datetimes with a zone, or texts as they are to stand."""

    chain_id: int | str
    nonce: str
    issued_at: datetime | str
    expiration_time: datetime | str
    not_before: datetime | str
    request_id: str
    resources: list[str]
