"""Telling users what was done to their accounts, once it is committed. Each notice is off unless the project asks for it.

Source: contracts auth 2.8; supabase/auth internal/api/user.go and verify.go.
"""

from __future__ import annotations

from isobase_services.auth.core import AuthCore
from isobase_services.auth.messages import EmailKind
from isobase_services.auth.models import User

__all__ = ["tell_of_changes"]


def tell_of_changes(core: AuthCore, before: User, after: User, *, has_new_password: bool = False) -> None:
    """Mail notices, in the background, of a new password, e-mail address or phone number.

    The one about the address goes to the old one: who lost the account should learn of it.
    """
    messages = core.messages
    if has_new_password:
        messages.notice(EmailKind.PASSWORD_CHANGED, after)
    if before.email and after.email != before.email:
        messages.notice(EmailKind.EMAIL_CHANGED, after, old_email=before.email)
    if after.phone and after.phone != before.phone:
        messages.notice(EmailKind.PHONE_CHANGED, after, old_phone=before.phone)
        if not any(identity.provider == "phone" for identity in before.identities):
            messages.notice(EmailKind.IDENTITY_LINKED, after, provider="phone")
