"""The hooks by name, and what every call of one is told.

Source: supabase/auth internal/hooks/v0hooks; contracts auth 2.19.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, TypeAlias
from uuid import uuid4

from isobase_services.auth.models import ClientFacts, JsonObject

__all__ = ["WIRE_NAMES", "HookName", "metadata"]

HookName: TypeAlias = Literal[
    "send_email",
    "send_sms",
    "custom_access_token",
    "password_verification_attempt",
    "mfa_verification_attempt",
    "before_user_created",
    "after_user_created",
]

WIRE_NAMES: dict[HookName, str] = {
    "send_email": "send-email",
    "send_sms": "send-sms",
    "custom_access_token": "customize-access-token",
    "password_verification_attempt": "password-verification",
    "mfa_verification_attempt": "mfa-verification",
    "before_user_created": "before-user-created",
    "after_user_created": "after-user-created",
}
"""What upstream calls them in ``metadata.name``."""


def metadata(name: HookName, facts: ClientFacts) -> JsonObject:
    """``metadata`` of a hook's input: an id of the call, the time, the hook, and the client's address where it is known."""
    content = {
        "uuid": str(uuid4()),
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "name": WIRE_NAMES[name],
    }
    return {**content, "ip_address": facts.ip} if facts.ip else content
