"""What the admin API sends, without input and output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from isobase._segments import quoted_segment
from isobase.auth.helpers import validate_uuid
from isobase.auth.types import CreateOAuthClientParams, GenerateLinkParams, UpdateOAuthClientParams

__all__ = ["link_body", "oauth_client_body", "oauth_client_path", "passkey_path", "provider_path", "user_path"]


def link_body(params: GenerateLinkParams) -> dict[str, Any]:
    """Give the body of ``POST /admin/generate_link``; what a type of link does not have is null, as upstream sends it."""
    given = cast("Mapping[str, Any]", params)
    fields = {name: given.get(name) for name in ("type", "email", "password", "new_email")}
    return {**fields, "data": (given.get("options") or {}).get("data")}


def oauth_client_body(params: CreateOAuthClientParams | UpdateOAuthClientParams) -> dict[str, Any]:
    """Give what was set of an app's fields."""
    return params.model_dump(exclude_none=True)


def user_path(user_id: str | None, part: str = "") -> str:
    """Give the path of a user, or of a part of theirs; ValueError for an id that is none."""
    validate_uuid(user_id)
    return f"admin/users/{user_id}{part}"


def passkey_path(user_id: str | None, passkey_id: str | None) -> str:
    """Give the path of a user's passkey; ValueError for an id that is none."""
    validate_uuid(passkey_id)
    return user_path(user_id, f"/passkeys/{passkey_id}")


def oauth_client_path(client_id: str, part: str = "") -> str:
    """Give the path of an app; ValueError for an id that is none."""
    validate_uuid(client_id)
    return f"admin/oauth/clients/{client_id}{part}"


def provider_path(identifier: str) -> str:
    """Give the path of a custom provider, whose identifier is ``custom:<name>``; ValueError for ``.`` and ``..``."""
    return f"admin/custom-providers/{quoted_segment(identifier, safe=':')}"
