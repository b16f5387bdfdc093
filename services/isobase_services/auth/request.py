"""Reading a request: the JSON body with GoTrue's leniency, the query, the client.

``null`` is absent, unknown fields are ignored, a wrong type is 400 bad_json. Source: contracts auth section 0;
supabase/auth internal/api/helpers.go (Go's encoding/json decides what counts as wrong).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from isobase_platform.http.body import read_body
from isobase_platform.http.request import bearer_token, client_ip, header
from isobase_platform.strict_json import load_finite
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request
from isobase_services.auth.models import AUTHENTICATED_AUDIENCE, ClientFacts, JsonObject

__all__ = ["MAX_BODY_BYTES", "Body", "Request", "client_facts", "parse_body"]

MAX_BODY_BYTES = 1 << 20
MAX_NESTING_LEVELS = 200
_BEARER = re.compile(r"bearer \S+", re.IGNORECASE)
_JSON_KINDS = {bool: "bool", str: "string", int: "number", float: "number", list: "array", dict: "object"}


@dataclass(slots=True, frozen=True)
class Request:
    """One request: the ASGI scope, how to read its body, and what the router found in the path."""

    scope: Scope
    receive: Receive
    path_params: JsonObject
    default_audience: str = AUTHENTICATED_AUDIENCE
    """What a request is about that names no audience: the setting's."""
    _read: list[bytes] = field(default_factory=list, repr=False)
    """The body, once it was read: guards look at it before the endpoint does."""

    @property
    def bearer(self) -> str | None:
        """The bearer token, or None where the header is missing or malformed."""
        given = header(self.scope, "authorization") or ""
        # One blank, as upstream's pattern has it; elsewhere more are taken.
        return bearer_token(self.scope) if _BEARER.fullmatch(given) else None

    @property
    def facts(self) -> ClientFacts:
        """Who the client says it is, and where it calls from."""
        return client_facts(self.scope)

    def audience(self, of_token: str = "") -> str:
        """The audience that the request is about: its header, else the token's, else the configured one."""
        return header(self.scope, "x-jwt-aud") or of_token or self.default_audience

    def query(self, name: str) -> str:
        """The first value of a query parameter, empty where it is absent."""
        return next((value for key, value in self.query_items() if key == name), "")

    def query_items(self) -> list[tuple[str, str]]:
        """All query parameters in their order."""
        text = str(self.scope.get("query_string", b""), "latin-1")
        return [(name, value.replace("\x00", "")) for name, value in parse_qsl(text, keep_blank_values=True)]

    async def body(self) -> Body:
        """The JSON body. Raises 400 bad_json where it is missing or no JSON object, ``BodyTooLarge`` over 1 MB."""
        return Body(_by_lower_name(parse_body(await self.raw_body())))

    async def optional_body(self) -> Body:
        """As ``body``, but a missing one is an empty object."""
        raw = await self.raw_body()
        return Body(_by_lower_name(parse_body(raw)) if raw else {})

    async def raw_body(self) -> bytes:
        """The body's bytes. Raises ``BodyTooLarge`` over 1 MB."""
        if not self._read:
            self._read.append(await read_body(self.scope, self.receive, MAX_BODY_BYTES))
        return self._read[0]


@dataclass(slots=True, frozen=True)
class Body:
    """A JSON object whose fields are read by type; absent and null are the same."""

    fields: JsonObject

    def text(self, name: str) -> str:
        """A string field, empty where absent."""
        return self.optional_text(name) or ""

    def optional_text(self, name: str) -> str | None:
        """A string field, None where absent."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, str):
            _wrong_type(name, value, "string")
        return value

    def flag(self, name: str) -> bool:
        """A boolean field, false where absent."""
        value = self.fields.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            _wrong_type(name, value, "bool")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A field that is a list of strings, None where absent; a null in it is an empty string, as in Go."""
        value = self.fields.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            _wrong_type(name, value, "[]string")
        for item in value:
            if item is not None and not isinstance(item, str):
                _wrong_type(name, item, "string")
        return tuple(item or "" for item in value)

    def object(self, name: str) -> JsonObject | None:
        """An object field, None where absent."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, dict):
            _wrong_type(name, value, "map[string]interface {}")
        return value


def client_facts(scope: Scope) -> ClientFacts:
    """User agent and address of the client."""
    return ClientFacts(user_agent=header(scope, "user-agent") or None, ip=client_ip(scope))


def parse_body(raw: bytes) -> dict[str, Any]:
    """``raw`` as a JSON object; ``null`` is an empty one. Raises 400 bad_json for anything else.

    Bytes and escapes that are no Unicode become U+FFFD, as in Go. A NUL, which PostgreSQL cannot keep, is refused here.
    """
    text = raw.decode("utf-8", "replace")
    try:
        value = load_finite(text)
        if "\\u" in text:
            # Only a text with an escape can hold a NUL or half a surrogate pair; the walk is for those alone.
            value = _clean(value)
        _check_depth(value)
    except json.JSONDecodeError as error:
        raise _bad_json(_go_syntax_error(text, error)) from None
    except (ValueError, RecursionError):
        raise _bad_json("invalid value") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _bad_json(f"json: cannot unmarshal {_JSON_KINDS[type(value)]} into Go value of type object")
    return value


def _by_lower_name(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields by their names in lower case: Go finds a field by its name in any case, and the last one counts."""
    if all(name.islower() for name in fields):
        return fields
    return {name.lower(): value for name, value in fields.items()}


def _check_depth(value: Any) -> None:
    """Raise ValueError where the nesting is deeper than what writing it out again can follow."""
    level = [value]
    for _ in range(MAX_NESTING_LEVELS):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise ValueError("nested too deep")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        if "\x00" in value:
            raise bad_request(ErrorCode.VALIDATION_FAILED, "Text must not contain the character U+0000")
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_clean(name): _clean(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def _go_syntax_error(text: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(text) or error.msg.startswith("Unterminated"):
        return "unexpected end of JSON input"
    if error.msg == "Extra data":
        return f"invalid character {_go_quoted(text[error.pos])} after top-level value"
    return f"invalid character {_go_quoted(text[error.pos])} looking for beginning of value"


def _go_quoted(character: str) -> str:
    return f"'{character}'" if character.isprintable() and character != "'" else "'\\''" if character == "'" else "' '"


def _wrong_type(name: str, value: object, wanted: str) -> NoReturn:
    raise _bad_json(f"json: cannot unmarshal {_JSON_KINDS[type(value)]} into Go struct field {name} of type {wanted}")


def _bad_json(reason: str) -> AuthError:
    return bad_request(ErrorCode.BAD_JSON, f"Could not parse request body as JSON: {reason}")
