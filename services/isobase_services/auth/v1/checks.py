"""Which checks stand before which route of this face, in their order. Source: supabase/auth internal/api/api.go.

PUT /user and the factors' routes count calls in their endpoints, once they know the user. What is switched off says so first.
"""

from __future__ import annotations

from isobase_services.auth.checks import (
    captcha,
    email_sign_in,
    limited,
    limited_sign_up,
    limited_token,
    magic_links,
    mail_left,
    password_or_web3,
)
from isobase_services.auth.limits import Limited
from isobase_services.auth.routing import Guard
from isobase_services.auth.v1.disabled import guard_oauth_server
from isobase_services.auth.v1.passkeys import guard_passkeys

__all__ = ["CHECKS"]

CHECKS: dict[tuple[str, str], tuple[Guard, ...]] = {
    ("POST", "/signup"): (captcha, limited_sign_up, mail_left),
    ("POST", "/recover"): (limited(Limited.RECOVER), captcha, email_sign_in, mail_left),
    ("POST", "/resend"): (limited(Limited.RESEND), captcha, mail_left),
    ("POST", "/magiclink"): (limited(Limited.MAGIC_LINK), captcha, magic_links, mail_left),
    ("POST", "/otp"): (limited(Limited.OTP), captcha, mail_left),
    ("POST", "/token"): (password_or_web3, limited_token),
    ("GET", "/verify"): (limited(Limited.VERIFY),),
    ("POST", "/verify"): (limited(Limited.VERIFY),),
    ("POST", "/passkeys/authentication/options"): (guard_passkeys, limited(Limited.PASSKEY), captcha),
    ("POST", "/oauth/clients/register"): (guard_oauth_server, limited(Limited.CLIENT_REGISTRATION)),
}
