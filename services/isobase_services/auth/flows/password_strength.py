"""Whether a password may be taken: the project's rules and, where it asks, what is known from leaks. Contracts auth 2.6."""

from __future__ import annotations

import logging

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, WeakPassword
from isobase_services.auth.rules import check_password_length, weakness_of

__all__ = ["check_new_password", "weakness_of_known_password"]

_PWNED = "Password is known to be weak and easy to guess, please choose a different one."

_log = logging.getLogger("isobase.auth")


async def check_new_password(core: AuthCore, password: str) -> None:
    """Let a strong password pass.

    Raises 400 for one over 72 bytes, ``WeakPassword`` (422) with the reasons length, characters and pwned, and 500 where
    leaked passwords cannot be asked for and the project wants that to count. Call it without a connection held.
    """
    check_password_length(password)
    weakness = await _weakness(core, password)
    if weakness is not None:
        raise weakness


async def weakness_of_known_password(core: AuthCore, password: str) -> WeakPassword | None:
    """What is weak about a password that signed its user in; they get in all the same, even where it cannot be told."""
    try:
        return await _weakness(core, password)
    except AuthError as error:
        _log.warning("the strength of a password cannot be told", extra={"reason": error.message})
        return None


async def _weakness(core: AuthCore, password: str) -> WeakPassword | None:
    weakness = weakness_of(password, core.settings)
    if not await core.pwned.knows(password):
        return weakness
    if weakness is None:
        return WeakPassword(_PWNED, ("pwned",))
    return WeakPassword(f"{weakness.message} {_PWNED}", (*weakness.reasons, "pwned"))
