"""What a channel is joined with, and what the server's answers mean. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from isobase.realtime.exceptions import AuthorizationError
from isobase.realtime.message import ReplyPostgresChanges
from isobase.realtime.types import (
    PostgresChangesCallback,
    PostgresChangesPayload,
    RealtimeChannelConfig,
    RealtimeChannelOptions,
    RealtimePostgresChangesListenEvent,
)

__all__ = ["bind", "error_of", "is_rate_limited", "is_token_ended", "join_payload"]

RATE_LIMIT_CODES = (
    "ChannelRateLimitReached",
    "ConnectionRateLimitReached",
    "ClientJoinRateLimitReached",
    "DatabaseConnectionRateLimitReached",
)
TOKEN_CODES = ("Token has expired", "InvalidJWTToken", "JwtSignatureError", "MalformedJWT")
REFUSAL_CODES = (*TOKEN_CODES, "Unauthorized", "You no longer have permission")
DEFAULT_CONFIG: RealtimeChannelConfig = {
    "broadcast": {"ack": False, "self": False},
    "presence": {"key": "", "enabled": False},
    "private": False,
}


def default_options() -> RealtimeChannelOptions:
    """Options of a channel for which none are given."""
    return {"config": json.loads(json.dumps(DEFAULT_CONFIG))}


def wants_presence(options: RealtimeChannelOptions, *, has_listeners: bool) -> bool:
    """Tell whether the channel takes part in presence: it was asked for, or somebody listens."""
    presence = options.get("config", {}).get("presence") or {}
    return has_listeners or bool(presence.get("enabled"))


def _key(binding: Mapping[str, Any]) -> str:
    return json.dumps(binding, sort_keys=True)


def distinct_bindings(callbacks: Iterable[PostgresChangesCallback]) -> list[dict[str, Any]]:
    """Give what listeners ask for, equal ones once: servers make one of them, and would answer with a shorter list."""
    return list({_key(callback.binding_filter): callback.binding_filter for callback in callbacks}.values())


def join_payload(
    options: RealtimeChannelOptions,
    callbacks: Iterable[PostgresChangesCallback],
    *,
    presence: bool,
    token: str | None,
    positions: dict[str, Any] | None,
) -> dict[str, Any]:
    """Give the payload of a join.

    ``positions`` are the options of row changes with positions, None where they are not asked for (no listener, or
    replay is off). Source: realtime-py's ``subscribe``; the server's ``payloads/join.ex`` ignores keys that it does
    not know.
    """
    config = options.get("config", {})
    bindings = distinct_bindings(callbacks)
    given: Mapping[str, Any] = config.get("presence") or {}
    broadcast = config.get("broadcast")
    body: dict[str, Any] = {
        "broadcast": DEFAULT_CONFIG["broadcast"] if broadcast is None else broadcast,
        "presence": {"key": "", **given, "enabled": presence},
        "private": config.get("private", False),
        "postgres_changes": bindings,
    }
    if bindings and positions is not None:
        body["postgres_changes_options"] = positions
    return {"config": body} | ({"access_token": token} if token else {})


def bind(callbacks: Iterable[PostgresChangesCallback], reply: ReplyPostgresChanges) -> bool:
    """Give every listener the id that the server's reply has for it; False where the reply is about other listeners."""
    if reply.postgres_changes is None:
        return True
    rows = iter(reply.postgres_changes)
    ids: dict[str, int] = {}
    bound = []
    for callback in callbacks:
        wanted = callback.binding_filter
        key = _key(wanted)
        if key not in ids:
            row = next(rows, None)
            if row is None or not _is_same(wanted, row.event, row.schema_, row.table, row.filter):
                return False
            ids[key] = row.id
        bound.append((callback, ids[key]))
    for callback, identifier in bound:
        callback.id = identifier
    return True


def _is_same(wanted: Mapping[str, Any], event: str, schema: str | None, table: str | None, filter_: str | None) -> bool:
    return (wanted["event"], wanted["schema"], wanted.get("table"), wanted.get("filter")) == (
        event,
        schema,
        table or None,
        filter_ or None,
    )


def change_of(payload: dict[str, Any]) -> PostgresChangesPayload:
    """Give the payload of a row change as callbacks get it, its type as an enum.

    Raises ``ValueError`` for what is none.
    """
    data, ids = payload.get("data"), payload.get("ids")
    if not isinstance(data, dict) or not isinstance(ids, list):
        raise ValueError("a row change without data or ids")
    data["type"] = RealtimePostgresChangesListenEvent(data.get("type"))
    return {"data": data, "ids": ids}  # type: ignore[typeddict-item]  # as the server sent it


def reason_of(payload: Mapping[str, Any]) -> str:
    """Give the text of a refusal: ``reason`` of a reply, ``message`` of a system message."""
    reason = payload.get("reason") or payload.get("message") or payload.get("response")
    return reason if isinstance(reason, str) else ""


def is_rate_limited(payload: Mapping[str, Any]) -> bool:
    """Tell whether a join was refused for a limit: trying again soon would make it worse."""
    return reason_of(payload).startswith(RATE_LIMIT_CODES)


def is_token_ended(payload: Mapping[str, Any]) -> bool:
    """Tell whether the token was refused, so that a fresh one may help."""
    return reason_of(payload).startswith(TOKEN_CODES)


def is_refusal(payload: Mapping[str, Any]) -> bool:
    """Tell whether a channel was refused for the caller's rights, so that another token may help."""
    return reason_of(payload).startswith(REFUSAL_CODES)


def error_of(payload: Mapping[str, Any]) -> Exception:
    """Give the exception that callbacks of ``subscribe`` are told: its text is the payload as JSON, as upstream's."""
    text = json.dumps(dict(payload), default=str)
    return AuthorizationError(text) if is_refusal(payload) else Exception(text)
