"""Users as upstream writes them in JSON, in answers and to hooks. Source: contracts auth 2.1 and 2.2."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from isobase_services.auth.models import Factor, Identity, User

__all__ = ["factor_body", "rfc3339", "user_body"]


def rfc3339(moment: datetime) -> str:
    """UTC with ``Z`` and as many fraction digits as are needed, as Go writes times."""
    text = moment.replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def user_body(user: User, *, is_listed: bool = False) -> dict[str, Any]:
    """The user object. In a list (``is_listed``) identities are null and factors missing, as upstream does not join there."""
    body: dict[str, Any] = {
        "id": str(user.id),
        "aud": user.aud,
        "role": user.role,
        "email": user.email,
    }
    _put_times(body, email_confirmed_at=user.email_confirmed_at, invited_at=user.invited_at)
    body["phone"] = user.phone
    _put_times(
        body,
        phone_confirmed_at=user.phone_confirmed_at,
        confirmation_sent_at=user.confirmation_sent_at,
        confirmed_at=user.confirmed_at,
        recovery_sent_at=user.recovery_sent_at,
    )
    if user.email_change:
        body["new_email"] = user.email_change
    _put_times(body, email_change_sent_at=user.email_change_sent_at)
    if user.phone_change:
        body["new_phone"] = user.phone_change
    _put_times(
        body,
        phone_change_sent_at=user.phone_change_sent_at,
        reauthentication_sent_at=user.reauthentication_sent_at,
        last_sign_in_at=user.last_sign_in_at,
    )
    body["app_metadata"] = user.app_metadata
    body["user_metadata"] = user.user_metadata
    if user.factors and not is_listed:
        body["factors"] = [factor_body(factor) for factor in user.factors]
    body["identities"] = None if is_listed else [_identity_body(identity) for identity in user.identities]
    body["created_at"] = rfc3339(user.created_at)
    body["updated_at"] = rfc3339(user.updated_at)
    _put_times(body, banned_until=user.banned_until, deleted_at=user.deleted_at)
    body["is_anonymous"] = user.is_anonymous
    return body


def factor_body(factor: Factor) -> dict[str, Any]:
    """The factor object; the secret is not even read."""
    body: dict[str, Any] = {
        "id": str(factor.id),
        "created_at": rfc3339(factor.created_at),
        "updated_at": rfc3339(factor.updated_at),
        "status": factor.status,
    }
    if factor.friendly_name:
        body["friendly_name"] = factor.friendly_name
    body["factor_type"] = factor.factor_type
    body["phone"] = factor.phone
    body["last_challenged_at"] = rfc3339(factor.last_challenged_at) if factor.last_challenged_at else None
    if factor.web_authn_aaguid:
        body["web_authn_aaguid"] = factor.web_authn_aaguid
    if factor.last_webauthn_challenge_data:
        body["last_webauthn_challenge_data"] = factor.last_webauthn_challenge_data
    return body


def _identity_body(identity: Identity) -> dict[str, Any]:
    body: dict[str, Any] = {
        "identity_id": str(identity.id),
        "id": identity.provider_id,
        "user_id": str(identity.user_id),
    }
    if identity.identity_data:
        body["identity_data"] = identity.identity_data
    body["provider"] = identity.provider
    _put_times(body, last_sign_in_at=identity.last_sign_in_at)
    body["created_at"] = rfc3339(identity.created_at)
    body["updated_at"] = rfc3339(identity.updated_at)
    if identity.email:
        body["email"] = identity.email
    return body


def _put_times(body: dict[str, Any], **times: datetime | None) -> None:
    for name, moment in times.items():
        if moment is not None:
            body[name] = rfc3339(moment)
