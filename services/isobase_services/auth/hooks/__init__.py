"""Hooks: a project's own code, called at fixed points of auth, as PostgreSQL functions or by HTTP.

``Hooks.run`` calls one; what goes in and what comes out of each is the business of the modules beside: ``access_token``,
``attempts``, ``new_users``, ``outgoing``. Never call one inside a transaction or with a connection held.
Source: supabase/auth internal/hooks; contracts auth 2.19.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from isobase_platform.errors import DatabaseError, IsobaseError, Unavailable
from isobase_services.auth.errors import AuthError
from isobase_services.auth.hooks.answers import failed, read_answer
from isobase_services.auth.hooks.names import HookName, metadata
from isobase_services.auth.hooks.over_http import HttpCaller
from isobase_services.auth.hooks.targets import FunctionTarget, HttpTarget, Target, read_target
from isobase_services.auth.models import ClientFacts, JsonObject

if TYPE_CHECKING:
    from isobase_platform.config_auth.hook import HookSettings
    from isobase_platform.pool import Pools

__all__ = ["HookName", "Hooks"]

_log = logging.getLogger("isobase.auth")


class Hooks:
    """The hooks of one process. ``role`` is who runs those that are functions; close it with ``close``.

    Raises ``ConfigurationError`` for an enabled hook whose URI or secrets cannot be used.
    """

    def __init__(self, settings: HookSettings, pools: Pools, role: str) -> None:
        points = {
            "send_email": settings.send_email,
            "send_sms": settings.send_sms,
            "custom_access_token": settings.custom_access_token,
            "password_verification_attempt": settings.password_verification_attempt,
            "mfa_verification_attempt": settings.mfa_verification_attempt,
            "before_user_created": settings.before_user_created,
            "after_user_created": settings.after_user_created,
        }
        self._targets: dict[str, Target] = {
            name: read_target(name, point) for name, point in points.items() if point.enabled
        }
        self._http = HttpCaller(timeout_s=settings.timeout_s, retry_pause_s=settings.retry_pause_s)
        self._function_timeout_ms = int(settings.function_timeout_s * 1000)
        self._pools = pools
        self._role = role

    def is_enabled(self, name: HookName) -> bool:
        """Whether the project has this hook."""
        return name in self._targets

    async def run(self, name: HookName, given: JsonObject, facts: ClientFacts) -> JsonObject:
        """Call an enabled hook with ``given`` and its metadata; returns what it answers, an empty object for nothing.

        Raises ``AuthError``: what the hook asks for, or upstream's errors for a hook that fails or cannot be reached.
        """
        target = self._targets[name]
        content = {"metadata": metadata(name, facts), **given}
        started_s = time.perf_counter()
        try:
            if isinstance(target, HttpTarget):
                answer = await self._http.call(target, content)
            else:
                answer = await self._call_function(target, content)
        except IsobaseError as error:
            # The hook's own words go to the caller; the log has what happened, and nothing of what was sent.
            _report(name, started_s, error)
            if isinstance(error, AuthError):
                raise
            raise failed(f"Error running hook URI: {target.uri}") from None
        _report(name, started_s, None)
        return answer

    async def _call_function(self, target: FunctionTarget, content: JsonObject) -> JsonObject:
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        async with self._pools.transaction(self._role) as connection:
            await connection.execute("select set_config('statement_timeout', $1, true)", str(self._function_timeout_ms))
            # The name was quoted when the settings were read.
            answer = await connection.fetchval(f"select {target.function}($1)", text)
        return read_answer(answer) if isinstance(answer, str) else {}

    async def close(self) -> None:
        """Let go of connections to hooks."""
        await self._http.close()


def _report(name: HookName, started_s: float, error: IsobaseError | None) -> None:
    fields: dict[str, object] = {"hook": name, "duration_ms": round((time.perf_counter() - started_s) * 1000, 1)}
    if error is None:
        _log.debug("hook ran", extra=fields)
        return
    if isinstance(error, DatabaseError):
        fields |= {"sqlstate": error.sqlstate, "context": error.context}
    if isinstance(error, DatabaseError | Unavailable | AuthError):
        fields["reason"] = error.message
    _log.warning("hook failed", extra=fields)
