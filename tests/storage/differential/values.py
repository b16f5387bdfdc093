"""Making two answers comparable: what is random or a time becomes a name, checked for its form, the same on both sides.

An id becomes ``<uuid place>``, the step and place of its first appearance, so that the same value in two places stays the
same. A time becomes ``<now>`` with its form (fraction and zone) kept; a signed token becomes its header and claims; the id of
a resumable upload, base64 of ``bucket/key/version``, is shown decoded.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree

from tests.auth.differential.values import JsonValue, differences

__all__ = ["JsonValue", "Names", "differences", "xml_value"]

NEAR_S = 60
FAR_S = 400 * 86400
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)?"
_HTTP_DATE = r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
_JWT = r"eyJ[\w-]+\.[\w-]+\.[\w-]+"
_RESUMABLE = r"(?<=/upload/resumable/)[\w-]{20,}|(?<=/upload/resumable/sign/)[\w-]{20,}"
_INSIDE = re.compile(
    rf"(?P<uuid>{_UUID})|(?P<iso>{_ISO})|(?P<date>{_HTTP_DATE})|(?P<jwt>{_JWT})|(?P<resumable>{_RESUMABLE})"
    r"|(?P<host>https?://127\.0\.0\.1:\d+)|(?P<trailer>(?<=AWS4-)\w{64})"
)
_LEFT_OUT = frozenset({"Owner", "Initiator", "StorageClass"})
"""Of what a user looks at least, each server tells more or less."""
_FRACTION = re.compile(r"\.\d+")


@dataclass(slots=True)
class Names:
    """The names given on one side of one scenario."""

    given: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    place: str = ""

    def normal(self, value: JsonValue, place: str = "") -> JsonValue:
        """``value``, found at ``place``, with names for what is random."""
        if isinstance(value, Mapping):
            return {key: self.normal(value[key], f"{place}.{key}") for key in sorted(value)}
        if isinstance(value, list):
            return [self.normal(item, f"{place}[{number}]") for number, item in enumerate(value)]
        self.place = place
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            distance_s = value - time.time()
            return value if abs(distance_s) > FAR_S else _distance(distance_s)
        return value

    def name(self, kind: str, value: str) -> str:
        """The name of a random value, a new one where it is seen for the first time."""
        return self.given.setdefault(value, f"<{kind} {self.place}>")

    def text(self, text: str) -> str:
        """A text with names for what is random in it."""
        for secret, name in self.secrets.items():
            text = text.replace(secret, name)
        return _INSIDE.sub(self._named, text)

    def _named(self, found: re.Match[str]) -> str:
        kind = found.lastgroup or ""
        text = found[0]
        if kind == "jwt":
            return self._token(text)
        if kind == "iso":
            return _moment(text)
        if kind == "date":
            return _distance(parsedate_to_datetime(text).timestamp() - time.time()) + " http"
        if kind == "resumable":
            return f"<upload {self._decoded(text)}>"
        if kind == "host":
            return "<host>"
        return self.name(kind, text)

    def _decoded(self, text: str) -> str:
        try:
            plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        except (binascii.Error, ValueError):
            return text
        return _INSIDE.sub(self._named, plain)

    def _token(self, text: str) -> str:
        try:
            header, payload = (
                json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in text.split(".")[:2]
            )
        except (binascii.Error, ValueError):
            return text
        return json.dumps({"header": header, "claims": self.normal(payload, f"{self.place}.claims")}, sort_keys=True)


def xml_value(text: str) -> JsonValue:
    """An XML document as nested lists: name and then text or children, by name."""
    try:
        return _element(ElementTree.fromstring(text))
    except ElementTree.ParseError:
        return text


def _element(element: ElementTree.Element) -> JsonValue:
    name = _local(element)
    if name == "Error":
        # Of an error the code is what clients decide by; texts and ids are each server's own.
        return [name, next((child.text for child in element if _local(child) == "Code"), None)]
    children = [_element(child) for child in sorted(element, key=_local) if _local(child) not in _LEFT_OUT]
    return [name, children if children else element.text]


def _local(element: ElementTree.Element) -> str:
    """The name without its namespace, which upstream's errors have and Isobase's cannot (clients would find no code)."""
    return element.tag.rpartition("}")[2]


def _moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return text
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    distance_s = moment.timestamp() - time.time()
    if abs(distance_s) > FAR_S:
        return text
    fraction = _FRACTION.search(text)
    digits = len(fraction[0]) - 1 if fraction else 0
    # PostgreSQL leaves out the last zeros of microseconds; what JavaScript writes always has three digits.
    form = "ms" if digits == 3 and text.endswith("Z") else ""
    return f"{_distance(distance_s)}{form}{'Z' if text.endswith('Z') else ''}"


def _distance(seconds: float) -> str:
    return "<now>" if abs(seconds) < NEAR_S else f"<now{round(seconds / 60):+d}min>"
