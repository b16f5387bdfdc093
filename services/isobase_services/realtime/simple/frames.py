"""The frames with which the simple face answers: success with what was asked for, or an error in the house's shape. Pure.

Source: design.md section 6 for the error; docs/realtime-rooms.md for both.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from isobase_platform.errors import DatabaseError, IsobaseError
from isobase_platform.http.errors import simple_error_body
from isobase_services.realtime.simple.actions import RequestId
from isobase_services.realtime.wire.messages import dump

__all__ = ["PING", "error_frame", "ok_frame"]

PING = '{"action":"ping"}'

_log = logging.getLogger("isobase.realtime")


def ok_frame(action: str, request_id: RequestId, content: str = "{}") -> str:
    """``{"action", "ok": true, "requestId"?, ...}`` with the members of ``content``, JSON text of an object."""
    head = f'{{"action":{dump(action)},"ok":true' + _request(request_id)
    return f"{head}}}" if content == "{}" else f"{head},{content[1:]}"


def error_frame(
    action: str, request_id: RequestId, error: IsobaseError, identifier: str, about: Mapping[str, str] | None = None
) -> str:
    """``{"action", "ok": false, "requestId"?, "error": {"code", "message", "details", "hint", "request_id"}}``.

    ``identifier`` is the request id of the handshake, by which the log is found; ``about`` names the room or channel. What
    only the log may know of a failure stays there.
    """
    if isinstance(error, DatabaseError) or error.status >= 500:
        _log.warning("an action failed", extra={"request_id": identifier, "code": error.code, "details": error.details})
    if isinstance(error, DatabaseError):
        error = IsobaseError("An unexpected error happened")
    members = "".join(f",{dump(name)}:{dump(value)}" for name, value in (about or {}).items())
    body = dump(simple_error_body(error, identifier))
    return f'{{"action":{dump(action)},"ok":false{_request(request_id)}{members},{body[1:]}'


def _request(request_id: RequestId) -> str:
    return "" if request_id is None else f',"requestId":{dump(request_id)}'
