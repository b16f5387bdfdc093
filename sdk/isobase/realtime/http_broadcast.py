"""A broadcast over HTTP: the request, and what its answer means. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from pydantic_core import from_json, to_json

from isobase._segments import quoted_segment
from isobase.realtime.exceptions import RealtimeHTTPError
from isobase.realtime.wire import is_bytes

__all__ = ["BroadcastRequest", "broadcast_request", "check_answer"]

ACCEPTED = 202
NOT_FOUND = 404


@dataclass(slots=True, frozen=True)
class BroadcastRequest:
    """What is posted."""

    url: str
    headers: dict[str, str]
    params: dict[str, str]
    content: bytes


def broadcast_request(
    endpoint: str, topic: str, event: str, payload: Any, *, is_private: bool, apikey: str | None, token: str | None
) -> BroadcastRequest:
    """Make the request of one broadcast. Raises ``ValueError`` where the payload is None, or a name is ``.`` or ``..``.

    ``endpoint`` is the service's ``…/api/broadcast``. Source: realtime-js ``httpSend``.
    """
    if payload is None:
        raise ValueError("Payload is required for http_send()")
    raw = is_bytes(payload)
    headers = {"apikey": apikey or "", "Content-Type": "application/octet-stream" if raw else "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    name = topic.removeprefix("realtime:")
    return BroadcastRequest(
        f"{endpoint}/{quoted_segment(name)}/events/{quoted_segment(event)}",
        headers,
        {"private": "true"} if is_private else {},
        bytes(cast("bytes", payload)) if raw else to_json(payload, inf_nan_mode="null"),
    )


def check_answer(status: int, reason: str, body: bytes) -> None:
    """Raise ``RealtimeHTTPError`` unless the broadcast was accepted (202 and nothing else, as upstream)."""
    if status == ACCEPTED:
        return
    if status == NOT_FOUND:
        raise RealtimeHTTPError(
            "http_send() requires Realtime server v2.97.0 or newer: the endpoint returned 404. Update the Supabase CLI or the"
            " self-hosted Realtime server.",
            status=status,
        )
    message = reason
    try:
        answer = from_json(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        message = str(answer.get("error") or answer.get("message") or reason)
    raise RealtimeHTTPError(message, status=status)
