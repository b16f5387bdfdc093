"""The variables of single features: hooks and notices. See ``options``."""

from __future__ import annotations

from isobase_platform.config_gotrue import converters
from isobase_platform.config_gotrue.options import Option

__all__ = ["FEATURES"]

_HOOKS = (
    *("mfa_verification_attempt", "password_verification_attempt", "custom_access_token"),
    *("send_email", "send_sms", "before_user_created", "after_user_created"),
)
_NOTICES = (
    *("password_changed", "email_changed", "phone_changed", "identity_linked", "identity_unlinked"),
    *("mfa_factor_enrolled", "mfa_factor_unenrolled"),
)


def _hook(name: str) -> tuple[Option, ...]:
    variable, target = f"GOTRUE_HOOK_{name.upper()}", f"auth.hook.{name}"
    return (
        Option(f"{variable}_ENABLED", converters.flag, f"{target}.enabled"),
        Option(f"{variable}_URI", converters.text, f"{target}.uri"),
        Option(f"{variable}_SECRETS", converters.text, f"{target}.secrets"),
    )


def _notice(name: str) -> Option:
    variable = f"GOTRUE_MAILER_NOTIFICATIONS_{name.upper()}_ENABLED"
    return Option(variable, converters.flag, f"auth.email.notification.{name}.enabled")


FEATURES: tuple[Option, ...] = (
    *(option for name in _HOOKS for option in _hook(name)),
    *(_notice(name) for name in _NOTICES),
)
