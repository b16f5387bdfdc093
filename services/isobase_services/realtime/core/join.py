"""Reading the payload of ``phx_join``: lenient where upstream is, so that an odd payload joins with what could be read.

Source: contracts/realtime.md 1.5; upstream logs InvalidJoinPayload and goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from isobase_services.realtime.wire.messages import dump

__all__ = ["JoinRequest", "Replay", "chosen_token", "parse_join"]

MAX_POSTGRES_CHANGES = 100
"""Row-change entries that one join may carry; each becomes work for every change of its table."""


@dataclass(slots=True, frozen=True)
class Replay:
    """A wish for past broadcasts of a private channel; ``params`` as the client sent them, None when they are no object."""

    params: Mapping[str, object] | None


@dataclass(slots=True, frozen=True)
class JoinRequest:
    """What a join asks for. ``changes`` holds the client's row-change entries verbatim, for the echo in the reply.

    ``change_options`` is ours beyond upstream: positions and replay of row changes.
    """

    ack: bool
    sees_own_broadcasts: bool
    wants_replication_ready: bool
    replay: Replay | None
    presence_key: str
    is_presence_enabled: bool
    is_private: bool
    changes: tuple[Mapping[str, object], ...]
    change_options: Mapping[str, object]
    token: str | None
    problems: tuple[str, ...]
    """Names of members that could not be read; for the log."""


def parse_join(payload: Mapping[str, object]) -> JoinRequest:
    """Read a join's payload. Never fails: what cannot be read counts as absent and is named in ``problems``."""
    problems: list[str] = []
    config = _object(payload, "config", problems)
    broadcast = _object(config, "broadcast", problems)
    presence = _object(config, "presence", problems)
    key = presence.get("key")
    if isinstance(key, int | float) and not isinstance(key, bool):
        # Upstream takes a number for a key, and shows it as an object's member is shown.
        key = dump(key)
    elif key is not None and not isinstance(key, str):
        problems.append("presence.key")
        key = None
    return JoinRequest(
        ack=_flag(broadcast, "ack", problems),
        sees_own_broadcasts=_flag(broadcast, "self", problems),
        wants_replication_ready=_flag(broadcast, "replication_ready", problems),
        replay=_replay(broadcast),
        presence_key=key or str(uuid.uuid4()),
        is_presence_enabled=_flag(presence, "enabled", problems),
        is_private=_flag(config, "private", problems),
        changes=_changes(config.get("postgres_changes"), problems),
        change_options=_object(config, "postgres_changes_options", problems),
        token=chosen_token(payload),
        problems=tuple(problems),
    )


def chosen_token(payload: Mapping[str, object]) -> str | None:
    """The token that a join brings: ``user_token`` (an older name) before ``access_token``; None where there is none.

    An opaque key is none, and in ``access_token`` it hides the older name too.
    """
    first = payload.get("access_token") or payload.get("user_token")
    if isinstance(first, str) and first.startswith("sb_"):
        return None
    for name in ("user_token", "access_token"):
        value = payload.get(name)
        if isinstance(value, str):
            return value
    return None


def _object(parent: Mapping[str, object], name: str, problems: list[str]) -> Mapping[str, object]:
    value = parent.get(name)
    if isinstance(value, dict):
        return value
    if value is not None:
        problems.append(name)
    return {}


def _replay(broadcast: Mapping[str, object]) -> Replay | None:
    """The member's presence alone counts as the wish: on a public channel upstream refuses even ``null``."""
    if "replay" not in broadcast:
        return None
    params = broadcast["replay"]
    return Replay(params if isinstance(params, dict) else None)


def _flag(parent: Mapping[str, object], name: str, problems: list[str]) -> bool:
    value = parent.get(name)
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is not None:
        problems.append(name)
    return False


def _changes(value: object, problems: list[str]) -> tuple[Mapping[str, object], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.append("postgres_changes")
        return ()
    entries = tuple(entry for entry in value if isinstance(entry, dict))
    if len(entries) != sum(entry is not None for entry in value) or len(entries) > MAX_POSTGRES_CHANGES:
        problems.append("postgres_changes")
    return entries[:MAX_POSTGRES_CHANGES]
