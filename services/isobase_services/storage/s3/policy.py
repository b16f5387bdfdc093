"""The policy of a POST form: what whoever signed it allows the form to hold. Pure.

Every field that is sent must be covered by a condition, or the holder of a form could add what its signer never meant.
Source: AWS, "Creating a POST policy"; upstream ``src/storage/protocols/s3/policy.ts`` for messages and for which fields are
exempt. (Upstream reads ``content-length-range`` and does not hold the file against it.)
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from isobase_platform.strict_json import refuse_constant
from isobase_services.storage.core.times import parse_iso
from isobase_services.storage.errors import refuse
from isobase_services.storage.s3.errors import s3_refuse

__all__ = ["SizeRange", "check_policy"]

MAX_CONDITIONS = 200
EXEMPT_FIELDS = frozenset(
    {"policy", "x-amz-signature", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "file"}
)
EXEMPT_PREFIX = "x-ignore-"


@dataclass(slots=True, frozen=True)
class SizeRange:
    """How many bytes the file may have."""

    at_least_bytes: int = 0
    at_most_bytes: int | None = None


def check_policy(encoded: str, fields: Mapping[str, str], bucket: str) -> SizeRange:
    """Hold the form's fields (lower-case names) against the policy; returns what it says of the file's size.

    Raises InvalidSignature for what is no policy, ExpiredToken, and AccessDenied for a field that is not as it demands.
    """
    policy = _decoded(encoded)
    _check_expiration(policy.get("expiration"))
    conditions = policy.get("conditions")
    if not isinstance(conditions, list) or len(conditions) > MAX_CONDITIONS:
        raise s3_refuse.invalid_signature("Invalid policy conditions")
    sent = {**fields, "bucket": bucket}
    covered: set[str] = set()
    size = SizeRange()
    for condition in conditions:
        if isinstance(condition, list) and condition and condition[0] == "content-length-range":
            size = _size_range(condition)
        else:
            covered.add(_check_condition(condition, sent))
    for name in sent:
        if name not in covered and name not in EXEMPT_FIELDS and not name.startswith(EXEMPT_PREFIX):
            raise refuse.access_denied(f'Policy condition failed: field "{name}" is not covered by the policy')
    return size


def _decoded(encoded: str) -> dict[str, Any]:
    try:
        policy = json.loads(base64.b64decode(encoded), parse_constant=refuse_constant)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise s3_refuse.invalid_signature("Invalid POST policy") from error
    if not isinstance(policy, dict):
        raise s3_refuse.invalid_signature("Invalid POST policy")
    return policy


def _check_expiration(stated: object) -> None:
    if not stated:
        raise s3_refuse.invalid_signature("Missing policy expiration")
    moment = parse_iso(stated) if isinstance(stated, str) else None
    if moment is None:
        raise s3_refuse.invalid_signature("Invalid policy expiration")
    if moment < datetime.now(UTC):
        raise s3_refuse.expired()


def _size_range(condition: list[object]) -> SizeRange:
    bounds = [bound for bound in condition[1:] if isinstance(bound, int) and not isinstance(bound, bool) and bound >= 0]
    if len(condition) != 3 or len(bounds) != 2:
        raise s3_refuse.invalid_signature("Invalid policy condition")
    return SizeRange(bounds[0], bounds[1])


def _check_condition(condition: object, sent: Mapping[str, str]) -> str:
    """The field that the condition is about, which is as it demands."""
    if isinstance(condition, dict):
        if len(condition) != 1:
            raise s3_refuse.invalid_signature("Invalid policy condition")
        ((name, value),) = condition.items()
        return _check_equal(str(name).lower(), value, sent)
    if not isinstance(condition, list) or len(condition) != 3 or condition[0] not in {"eq", "starts-with"}:
        raise s3_refuse.invalid_signature("Unsupported policy condition")
    operator, target, value = condition
    if not isinstance(target, str) or not target.startswith("$"):
        raise s3_refuse.invalid_signature("Invalid policy condition")
    name = target[1:].lower()
    if operator == "eq":
        return _check_equal(name, value, sent)
    if name not in sent or not sent[name].startswith(str(value)):
        raise refuse.access_denied(f'Policy condition failed: "{name}" does not start with "{value}"')
    return name


def _check_equal(name: str, value: object, sent: Mapping[str, str]) -> str:
    if name not in sent or sent[name] != str(value):
        raise refuse.access_denied(f'Policy condition failed: "{name}" does not match')
    return name
