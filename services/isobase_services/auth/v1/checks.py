"""Which checks stand before which route of this face, in their order. Source: supabase/auth internal/api/api.go.

PUT /user, the factors' routes and the registration of OAuth clients count calls in their endpoints, once they know the user.
"""

from __future__ import annotations

from isobase_services.auth.checks import (
    captcha,
    limited,
    limited_sign_up,
    limited_token,
    mail_left,
    password_or_web3,
)
from isobase_services.auth.limits import Limited
from isobase_services.auth.routing import Guard

__all__ = ["CHECKS"]

CHECKS: dict[tuple[str, str], tuple[Guard, ...]] = {
    ("POST", "/signup"): (captcha, limited_sign_up, mail_left),
    ("POST", "/recover"): (limited(Limited.RECOVER), captcha, mail_left),
    ("POST", "/resend"): (limited(Limited.RESEND), captcha, mail_left),
    ("POST", "/magiclink"): (limited(Limited.MAGIC_LINK), captcha, mail_left),
    ("POST", "/otp"): (limited(Limited.OTP), captcha, mail_left),
    ("POST", "/token"): (password_or_web3, limited_token),
    ("GET", "/verify"): (limited(Limited.VERIFY),),
    ("POST", "/verify"): (limited(Limited.VERIFY),),
    ("POST", "/passkeys/authentication/options"): (limited(Limited.PASSKEY), captcha),
    ("POST", "/sso"): (limited(Limited.SSO), captcha),
    ("POST", "/oauth/clients/register"): (limited(Limited.CLIENT_REGISTRATION),),
}
