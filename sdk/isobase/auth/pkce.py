"""PKCE without I/O: verifiers, challenges, the names of their slots in the storage, and the flow id in a redirect.

Each flow has a slot of its own, so that two sign-ins begun side by side do not overwrite one another's verifier. At
most ``MAX_CONCURRENT_FLOWS`` slots are kept; the newest flow is also kept under the one key that older clients know.

Source: supabase-js's ``lib/helpers.ts`` and Supabase's SDK specification, concurrent PKCE flows.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from isobase.auth.helpers import generate_pkce_challenge, generate_pkce_verifier

__all__ = [
    "FLOW_ID_PARAM",
    "MAX_CONCURRENT_FLOWS",
    "PkceFlow",
    "flow_index",
    "index_key",
    "is_flow_id",
    "latest_key",
    "new_flow",
    "read_verifier",
    "slot_key",
    "with_flow_id",
]

FLOW_ID_PARAM = "sb_flow_id"
MAX_CONCURRENT_FLOWS = 5
RECOVERY_MARK = "PASSWORD_RECOVERY"

_FLOW_ID = re.compile(r"[a-zA-Z0-9_-]{8,64}")


@dataclass(slots=True, frozen=True, repr=False)
class PkceFlow:
    """One begun flow: ``verifier`` stays here, ``challenge`` goes to the server, ``flow_id`` finds the verifier
    again.
    """

    flow_id: str
    verifier: str
    challenge: str
    is_recovery: bool = False

    @property
    def stored(self) -> str:
        """The text that is kept: the verifier, and whether the flow is the recovery of a password."""
        return f"{self.verifier}/{RECOVERY_MARK}" if self.is_recovery else self.verifier

    @property
    def fields(self) -> dict[str, Any]:
        """What a request carries."""
        return {"code_challenge": self.challenge, "code_challenge_method": "s256"}


def new_flow(*, is_recovery: bool = False) -> PkceFlow:
    """Begin a flow with a new verifier (64 characters) and a new id (32 hexadecimal digits)."""
    verifier = generate_pkce_verifier()
    return PkceFlow(secrets.token_hex(16), verifier, generate_pkce_challenge(verifier), is_recovery)


def is_flow_id(value: object) -> bool:
    """Tell whether this may be a flow id. Ids arrive in URLs: what has another shape never becomes part of a storage
    key.
    """
    return isinstance(value, str) and _FLOW_ID.fullmatch(value) is not None


def slot_key(storage_key: str, flow_id: str) -> str:
    """Give where a flow's verifier is kept."""
    return f"{storage_key}-flow-{flow_id}-code-verifier"


def index_key(storage_key: str) -> str:
    """Give where the ids of the pending flows are kept: storages cannot list their keys."""
    return f"{storage_key}-flows-code-verifier"


def latest_key(storage_key: str) -> str:
    """Give where the newest flow's verifier is kept, for exchanges that cannot tell which flow they end."""
    return f"{storage_key}-code-verifier"


def flow_index(text: str | None) -> list[str]:
    """Read the index: ids of pending flows, oldest first."""
    try:
        found = json.loads(text) if text else []
    except ValueError:
        return []
    return [one for one in found if is_flow_id(one)] if isinstance(found, list) else []


def read_verifier(stored: str) -> tuple[str, bool]:
    """Take apart what was kept: the verifier, and whether its flow is the recovery of a password."""
    verifier, _, mark = stored.partition("/")
    return verifier, mark in (RECOVERY_MARK, "recovery")


def with_flow_id(redirect_to: str, flow_id: str) -> str:
    """Add the flow id to a redirect address, in the place of one that is there; the rest keeps its bytes, custom
    schemes too.
    """
    base, hash_mark, fragment = redirect_to.partition("#")
    path, _, query = base.partition("?")
    pairs = [pair for pair in query.split("&") if pair and pair.partition("=")[0] != FLOW_ID_PARAM]
    pairs.append(f"{FLOW_ID_PARAM}={quote(flow_id, safe='')}")
    return f"{path}?{'&'.join(pairs)}{hash_mark}{fragment}"
