"""Removing rows that nobody can use any more: a bounded number per statement, none that somebody else holds.

Source of the ages: supabase/auth internal/models/cleanup.go; contracts auth section 3. Sessions go in small numbers, because
their refresh tokens go with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isobase_platform.config import AuthSettings
    from isobase_platform.pool import Connection

__all__ = ["Sweep", "run_sweep", "sweeps_of"]

DAY = timedelta(days=1)
SESSIONS_KEPT = timedelta(hours=72)
ANONYMOUS_USERS_KEPT = timedelta(days=30)
LOCK_KEY = 0x15B_A5E_A07
"""The advisory lock of housekeeping: whoever holds it is the one process that sweeps."""
STATEMENT_TIMEOUT_MS = 5000


@dataclass(slots=True, frozen=True)
class Sweep:
    """One kind of stale rows. ``statement`` takes an age as $1 and the number of rows as $2."""

    name: str
    statement: str
    age: timedelta
    share: int = 1
    """The part of the usual number of rows that is taken at once, as its divisor."""


def sweeps_of(settings: AuthSettings) -> tuple[Sweep, ...]:
    """What the settings have removed."""
    codes_live = timedelta(seconds=max(settings.email.otp_expiry_s, settings.sms.otp_expiry_s))
    sweeps = [
        Sweep("refresh_tokens", _delete("refresh_tokens", "revoked and updated_at < now() - $1::interval"), DAY),
        Sweep("refresh_tokens_of_ended_sessions", _REVOKE, DAY),
        Sweep("sessions", _delete("sessions", "not_after < now() - $1::interval"), SESSIONS_KEPT, share=10),
        Sweep("flow_state", _delete("flow_state", "created_at < now() - $1::interval"), DAY),
        Sweep("saml_relay_states", _delete("saml_relay_states", "created_at < now() - $1::interval"), DAY),
        Sweep("oauth_client_states", _delete("oauth_client_states", "created_at < now() - $1::interval"), DAY),
        Sweep("oauth_authorizations", _delete("oauth_authorizations", "expires_at < now() - $1::interval"), DAY),
        Sweep("mfa_challenges", _delete("mfa_challenges", "created_at < now() - $1::interval"), DAY),
        Sweep(
            "mfa_factors", _delete("mfa_factors", "created_at < now() - $1::interval and status = 'unverified'"), DAY
        ),
        Sweep("webauthn_challenges", _delete("webauthn_challenges", "expires_at < now() - $1::interval"), timedelta(0)),
        Sweep(
            "one_time_tokens",
            _delete("one_time_tokens", "created_at < (now() at time zone 'utc') - $1::interval"),
            codes_live + DAY,
        ),
    ]
    sessions = settings.sessions
    if sessions.timebox_s is not None:
        end = timedelta(seconds=sessions.timebox_s) + DAY
        sweeps.append(
            Sweep("timeboxed_sessions", _delete("sessions", "created_at < now() - $1::interval"), end, share=10)
        )
    if sessions.inactivity_timeout_s is not None:
        end = timedelta(seconds=sessions.inactivity_timeout_s) + DAY
        sweeps.append(Sweep("inactive_sessions", _delete("sessions", _INACTIVE), end, share=10))
    if settings.housekeeping.anonymous_users_enabled:
        anonymous = _delete("users", "created_at < now() - $1::interval and is_anonymous")
        sweeps.append(Sweep("anonymous_users", anonymous, ANONYMOUS_USERS_KEPT, share=10))
    return tuple(sweeps)


async def run_sweep(connection: Connection, sweep: Sweep, batch_rows: int) -> int | None:
    """Remove one batch and return the number of rows; None where another process is at it. Needs a transaction."""
    row = await connection.fetchrow(
        "select pg_try_advisory_xact_lock($1) as is_ours, set_config('statement_timeout', $2, true)",
        LOCK_KEY,
        str(STATEMENT_TIMEOUT_MS),
    )
    if row is None or not row["is_ours"]:
        return None
    status = await connection.execute(sweep.statement, sweep.age, max(1, batch_rows // sweep.share))
    return int(status.rpartition(" ")[2])


def _delete(table: str, condition: str) -> str:
    # Table and condition are constants of this module.
    return (
        f"delete from auth.{table} where id in"  # noqa: S608
        f" (select id from auth.{table} where {condition} limit $2 for update skip locked)"
    )


_INACTIVE = (
    "coalesce(refreshed_at at time zone 'utc', created_at) < now() - $1::interval"
    " and not exists (select from auth.refresh_tokens r where r.session_id = sessions.id and not r.revoked"
    " and r.updated_at >= now() - $1::interval)"
)
_REVOKE = """
update auth.refresh_tokens set revoked = true, updated_at = now()
 where id in (
   select r.id from auth.refresh_tokens r join auth.sessions s on s.id = r.session_id
    where s.not_after < now() - $1::interval and r.revoked is false
    limit $2 for update of r skip locked)"""
