"""Results and exceptions as plain values that can be compared; what differs from call to call is masked."""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

import httpx
from pydantic import BaseModel

__all__ = ["Shown", "differences", "shown", "shown_error"]

Shown: TypeAlias = dict[str, Any]

MAX_DEPTH = 12
_MASKS = (
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*"), "<jwt>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"(?<=code_challenge=)[\w-]+|(?<=token=)[\w.-]+|(?<=code=)[\w-]+"), "<secret>"),
    (re.compile(r"\b[0-9a-f]{32,}\b"), "<hash>"),
    (re.compile(r"pkce_[0-9a-f]+"), "<pkce>"),
    (re.compile(r" at 0x[0-9a-f]+"), " at <place>"),
)
# Values that are new each time, whose kind is all that can be compared.
_SECRET = frozenset(
    {
        "access_token", "refresh_token", "expires_at", "email_otp", "hashed_token", "secret", "uri", "qr_code",
        "verification_type_token", "iat", "exp", "session_id", "code_verifier", "etag", "eTag", "version", "ETag",
        "signature", "timestamp", "otp_expiry", "client_secret", "latency_ms", "commit_timestamp", "phx_ref",
        "presence_ref", "join_ref", "ref", "expires_in", "user-agent", "x-client-info",
    }
)  # fmt: skip
# Lists that GoTrue gives in any order: the ways of signing in of one second.
_UNORDERED = frozenset({"amr", "current_authentication_methods"})


def shown(value: object, depth: int = 0) -> Any:
    """``value`` as lists, dicts and scalars."""
    if depth > MAX_DEPTH:
        return "..."
    if isinstance(value, Enum):
        return {"enum": type(value).__name__, "value": value.value}
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, bytes | bytearray):
        return {"bytes": masked(bytes(value).decode("latin-1"))}
    if isinstance(value, datetime):
        return "<datetime>" if value.tzinfo else "<naive datetime>"
    if isinstance(value, UUID):
        return {"uuid": ""}
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return {"model": type(value).__name__, "fields": _entries(fields, depth)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.repr}
        return {"model": type(value).__name__, "fields": _entries(fields, depth)}
    if isinstance(value, httpx.Response):
        return {"response": value.status_code, "body": masked(value.text)}
    if isinstance(value, dict):
        return _entries(value, depth)
    if isinstance(value, list | tuple):
        return [shown(one, depth + 1) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(str(shown(one, depth + 1)) for one in value)
    if isinstance(value, BaseException):
        return shown_error(value)
    if isinstance(value, httpx.URL) or type(value).__name__ == "URL":
        return {"url": masked(str(value))}
    if isinstance(value, type):
        return {"class": value.__name__}
    return {"object": type(value).__name__}


def _entries(values: dict[Any, Any], depth: int) -> dict[str, Any]:
    return {str(name): _entry(str(name), one, depth) for name, one in values.items()}


def _entry(name: str, value: object, depth: int) -> Any:
    is_secret = name in _SECRET or name.endswith("-code-verifier")
    if is_secret and value is not None and not isinstance(value, dict | list):
        return f"<{type(value).__name__}>"
    if name in _UNORDERED and isinstance(value, list):
        return sorted((shown(one, depth + 1) for one in value), key=str)
    return shown(value, depth + 1)


def masked(text: str) -> str:
    """``text`` without what is new each time."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


def shown_error(error: BaseException) -> Shown:
    """An exception: its class with those it inherits from, its text, its attributes and arguments."""
    classes = [one.__name__ for one in type(error).__mro__ if one not in {object, BaseException}]
    names = {name for name in vars(error) if not name.startswith("_")}
    names |= {"code", "message", "details", "hint", "status", "name"}
    attributes = {name: getattr(error, name) for name in names if hasattr(error, name)}
    result: Shown = {
        "raises": classes,
        "text": masked(str(error)),
        "args": [shown(one) for one in error.args],
        "attributes": _entries(attributes, 0),
    }
    if hasattr(error, "to_dict"):
        result["to_dict"] = shown(error.to_dict())
    if hasattr(error, "json") and callable(error.json):
        result["json"] = shown(error.json())
    return result


def differences(theirs: Any, ours: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """The places where ``ours`` is not what upstream gave: (path, theirs, ours).

    A model of ours may have further fields, an exception further attributes and classes that it inherits from. Ours may
    not warn where upstream does not.
    """
    if not path and "warns" in ours and "warns" not in theirs:
        return [("/warns", "(absent)", ours["warns"])]
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = []
        may_have_more = path.endswith(("/fields", "/attributes"))
        for name in theirs.keys() | ours.keys():
            if name == "warns" and not path:
                continue
            if name not in ours:
                found.append((f"{path}/{name}", theirs[name], "(absent)"))
            elif name not in theirs:
                if not may_have_more:
                    found.append((f"{path}/{name}", "(absent)", ours[name]))
            else:
                found += differences(theirs[name], ours[name], f"{path}/{name}")
        return found
    if path.endswith("/raises") and isinstance(theirs, list) and isinstance(ours, list):
        kept = [name for name in ours if name in theirs]
        return [] if kept == theirs and ours[:1] == theirs[:1] else [(path, theirs, ours)]
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [
            one for n, (a, b) in enumerate(zip(theirs, ours, strict=True)) for one in differences(a, b, f"{path}/{n}")
        ]
    return [] if type(theirs) is type(ours) and theirs == ours else [(path, theirs, ours)]
