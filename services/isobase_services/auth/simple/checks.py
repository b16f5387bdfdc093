"""Which checks stand before which route of the simple face.

The rate limits' buckets are the other face's: a second door gives no second try.
"""

from __future__ import annotations

from isobase_services.auth.checks import captcha_of_either_form as captcha
from isobase_services.auth.checks import limited, mail_left
from isobase_services.auth.limits import Limited
from isobase_services.auth.routing import Guard

__all__ = ["CHECKS"]

CHECKS: dict[tuple[str, str], tuple[Guard, ...]] = {
    ("POST", "/signup"): (limited(Limited.SIGN_UP), captcha, mail_left),
    ("POST", "/signin"): (limited(Limited.TOKEN), captcha),
    ("POST", "/refresh"): (limited(Limited.TOKEN),),
    ("POST", "/send-otp"): (limited(Limited.OTP), captcha, mail_left),
    ("POST", "/verify-otp"): (limited(Limited.VERIFY),),
}
