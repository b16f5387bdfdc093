"""Making two answers comparable: what is random or a time becomes a name, checked for its form, the same on both sides.

A random value (id, token, hash) becomes ``<kind place>``, the step and place of its first appearance, so that the same value
in two places stays the same, and one more on one side renames no other. A time becomes its distance from now in whole
minutes. A JWT becomes its header and claims.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias
from urllib.parse import unquote_plus

__all__ = ["JsonValue", "Names", "differences"]

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"

NEAR_S = 40
FAR_S = 400 * 86400

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NIL = "00000000-0000-0000-0000-000000000000"
_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?")
_INSIDE = re.compile(
    rf"(?P<uuid>{_UUID})|(?P<secret>(?<=secret=)[A-Z2-7]{{32}})|(?P<hash>\b(?:pkce_)?[0-9a-f]{{56}}\b)"
)
_WHOLE = (
    ("refresh", re.compile(r"[a-z2-7]{12}")),
    ("secret", re.compile(r"[A-Z2-7]{32}")),
    ("authorization", re.compile(r"[a-z2-7]{32}")),
    ("webauthn", re.compile(r"[A-Za-z0-9_-]{42,43}")),
)
_ALIKE = (
    ("<code>", re.compile(r"\d{6}")),
    ("<bcrypt>", re.compile(r"\$2[aby]\$\d\d\$.{53}")),
    ("<svg>", re.compile(r"(<\?xml.*?)?<svg.*</svg>\s*", re.DOTALL)),
    # What is left of the phone number of a user who was softly deleted.
    ("<obscured>", re.compile(r"(?=.*[A-Z])(?=.*[a-z])[A-Za-z0-9_-]{15}")),
    ("<hmac key>", re.compile(r"[A-Za-z0-9_-]{43}=*")),
)


@dataclass(slots=True)
class Names:
    """The names given on one side of one scenario."""

    given: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    place: str = ""

    def normal(self, value: JsonValue, place: str = "") -> JsonValue:
        """``value``, found at ``place``, with names for what is random."""
        if isinstance(value, Mapping):
            return {key: self.normal(value[key], f"{place}.{key}") for key in sorted(value)}
        if isinstance(value, list):
            return [self.normal(item, f"{place}[{number}]") for number, item in enumerate(value)]
        self.place = place
        if isinstance(value, str):
            return self._text_or_token(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return self._number(value)
        return value

    def normal_rows(self, rows: list[dict[str, JsonValue]], place: str) -> list[JsonValue]:
        """Rows in an order that does not depend on what is random: by time, and what is of one moment by content."""
        known = Names(dict(self.given))
        keyed = sorted(rows, key=lambda row: known.key(row))
        return [self.normal({**row}, f"{place}[{number}]") for number, row in enumerate(keyed)]

    def key(self, row: Mapping[str, JsonValue]) -> str:
        """The row as text in which unknown random values all look alike."""
        return json.dumps({name: self._key(value) for name, value in row.items()}, sort_keys=True)

    def _key(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return self._text(value, is_known_only=True)
        if isinstance(value, Mapping):
            return {self._text(name, is_known_only=True): self._key(item) for name, item in value.items()}
        return value

    def location(self, url: str, place: str) -> JsonValue:
        """A redirect's target: what is before the query, then query and fragment as lists of pairs in their order."""
        rest, _, fragment = url.partition("#")
        base, _, query = rest.partition("?")
        return {
            "base": self.normal(base, place),
            "query": self._pairs(query, f"{place}?"),
            "fragment": self._pairs(fragment, f"{place}#"),
        }

    def _pairs(self, text: str, place: str) -> list[JsonValue]:
        pairs: list[JsonValue] = []
        for part in text.split("&") if text else []:
            name, _, value = part.partition("=")
            plain = unquote_plus(value)
            found = int(plain) if plain.isdigit() and len(plain) > 8 else plain
            pairs.append([unquote_plus(name), self.normal(found, f"{place}{name}")])
        return pairs

    def _text_or_token(self, text: str) -> JsonValue:
        if _JWT.fullmatch(text) and (token := self._token(text)) is not None:
            return token
        return self._text(text, is_known_only=False)

    def _token(self, text: str) -> JsonValue:
        try:
            header, payload = (
                json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in text.split(".")[:2]
            )
        except (binascii.Error, ValueError):
            return None
        if isinstance(payload, dict) and isinstance(payload.get("amr"), list):
            # Of methods used in the same second upstream lists either one first.
            payload["amr"].sort(key=lambda use: json.dumps(use, sort_keys=True))
        return {"header": header, "claims": self.normal(payload, f"{self.place}.claims")}

    def _text(self, text: str, *, is_known_only: bool) -> str:
        if (found := _TIME.fullmatch(text)) is not None:
            return _moment(found)
        for alike, pattern in _ALIKE:
            if pattern.fullmatch(text):
                return alike
        for kind, pattern in _WHOLE:
            if pattern.fullmatch(text):
                return self._name(kind, text, is_known_only=is_known_only)

        def named(found: re.Match[str]) -> str:
            if found[0] == _NIL:
                return found[0]
            kind = found.lastgroup or ""
            return self._name(
                kind + ("-pkce" if found[0].startswith("pkce_") else ""), found[0], is_known_only=is_known_only
            )

        return _INSIDE.sub(named, text)

    def _name(self, kind: str, value: str, *, is_known_only: bool) -> str:
        name = self.given.get(value)
        if name is not None:
            return name
        if is_known_only:
            return f"<{kind}>"
        name = f"<{kind} {self.place}>"
        while name in self.taken:
            name = f"{name[:-1]}'>"
        self.taken.add(name)
        self.given[value] = name
        return name

    @staticmethod
    def _number(value: int) -> JsonValue:
        distance_s = value - time.time()
        return value if abs(distance_s) > FAR_S else _distance(distance_s)


def _moment(found: re.Match[str]) -> str:
    zone = found[3] or ""
    try:
        moment = datetime.fromisoformat(found[1] + (zone.replace("Z", "+00:00") or "+00:00"))
    except ValueError:
        return found[0]
    distance_s = moment.timestamp() - time.time()
    return found[0] if abs(distance_s) > FAR_S else f"{_distance(distance_s)}{zone}"


def _distance(seconds: float) -> str:
    return "<now>" if abs(seconds) < NEAR_S else f"<now{round(seconds / 60):+d}min>"


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def differences(upstream: JsonValue, ours: JsonValue, path: str = "") -> list[tuple[str, JsonValue, JsonValue]]:
    """Where two values differ: (path, upstream's, ours); what one side lacks is ``"<absent>"``."""
    if isinstance(upstream, dict) and isinstance(ours, dict):
        return [
            found
            for key in sorted({**upstream, **ours})
            for found in differences(upstream.get(key, "<absent>"), ours.get(key, "<absent>"), f"{path}.{key}")
        ]
    if isinstance(upstream, list) and isinstance(ours, list) and len(upstream) == len(ours):
        return [
            found
            for place, (left, right) in enumerate(zip(upstream, ours, strict=True))
            for found in differences(left, right, f"{path}[{place}]")
        ]
    if type(upstream) is type(ours) and upstream == ours:
        return []
    if _is_number(upstream) and _is_number(ours) and float(str(upstream)) == float(str(ours)):
        # Numbers of metadata keep their notation in PostgreSQL; to a client 1.0 and 1 are the same.
        return []
    return [(path, upstream, ours)]
