"""What stands before endpoints of either face: rate limits and the CAPTCHA. Each face has a table of which stands where."""

from __future__ import annotations

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request
from isobase_services.auth.flows.access import admin_of
from isobase_services.auth.flows.otp import check_magic_links
from isobase_services.auth.limits import Limited
from isobase_services.auth.request import Body, Request
from isobase_services.auth.routing import Guard

__all__ = [
    "captcha",
    "captcha_of_either_form",
    "email_sign_in",
    "limited",
    "limited_sign_up",
    "limited_token",
    "magic_links",
    "mail_left",
    "password_or_web3",
]

_WITHOUT_CAPTCHA = frozenset({"pkce", "refresh_token", "id_token"})


def limited(kind: Limited) -> Guard:
    """A check that counts the call by its client's address; it raises 429 over_request_rate_limit."""

    async def check(core: AuthCore, request: Request) -> None:
        await core.limits.check(kind, request.facts)

    return check


async def limited_sign_up(core: AuthCore, request: Request) -> None:
    """As ``limited``, with anonymous sign-ups counted apart; where those are off they are not counted, as upstream."""
    body = await request.body()
    if body.text("email") or body.text("phone"):
        await core.limits.check(Limited.SIGN_UP, request.facts)
    elif core.settings.enable_anonymous_sign_ins:
        await core.limits.check(Limited.ANONYMOUS_SIGN_UP, request.facts)


async def limited_token(core: AuthCore, request: Request) -> None:
    """As ``limited``, for the grants of ``/token``: web3 has a rate of its own."""
    kind = Limited.WEB3 if request.query("grant_type") == "web3" else Limited.TOKEN
    await core.limits.check(kind, request.facts)


async def captcha(core: AuthCore, request: Request) -> None:
    """Ask for a solved CAPTCHA where the project wants one; an administrator's token passes without.

    The token is ``gotrue_meta_security.captcha_token`` of the body. Raises 400 captcha_failed, 500 where the provider
    cannot be asked.
    """
    if core.captcha.is_enabled and not await _is_admin(core, request):
        await core.captcha.check(_nested_token(await request.body()), request.facts)


async def captcha_of_either_form(core: AuthCore, request: Request) -> None:
    """As ``captcha``, for the simple face, whose bodies may also hold ``captcha_token`` itself."""
    if core.captcha.is_enabled and not await _is_admin(core, request):
        body = await request.body()
        await core.captcha.check(body.text("captcha_token") or _nested_token(body), request.facts)


async def mail_left(core: AuthCore, request: Request) -> None:
    """Raise 429 over_email_send_rate_limit for a request with an e-mail address while the hour's mails are spent.

    It does not depend on the address, because the answer must not tell which are known.
    """
    if core.messages.counts_mail and (await request.body()).text("email"):
        await core.limits.check_email_left()


async def email_sign_in(core: AuthCore, request: Request) -> None:
    """Raise 400 email_provider_disabled, before the body is read, where nobody signs in by e-mail."""
    if not core.settings.email_enable_signup:
        raise bad_request(ErrorCode.EMAIL_PROVIDER_DISABLED, "Email logins are disabled")


async def magic_links(core: AuthCore, request: Request) -> None:
    """Raise 422 email_provider_disabled, before the body is read, where nobody signs in by e-mail or by its links."""
    check_magic_links(core)


async def password_or_web3(core: AuthCore, request: Request) -> None:
    """As ``captcha``, for the grants of ``/token`` that prove nothing by themselves."""
    if request.query("grant_type") not in _WITHOUT_CAPTCHA:
        await captcha(core, request)


def _nested_token(body: Body) -> str:
    token = (body.object("gotrue_meta_security") or {}).get("captcha_token")
    return token if isinstance(token, str) else ""


async def _is_admin(core: AuthCore, request: Request) -> bool:
    if request.bearer is None:
        return False
    try:
        await admin_of(core, request.bearer)
    except AuthError:
        return False
    return True
