"""A scenario's view of one side: it asks, and everything it asked and got is recorded for the comparison."""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import httpx
import jwt

from tests.auth.differential.mails import MailServer
from tests.auth.differential.servers import SECRET, Side, parsed
from tests.auth.differential.values import JsonValue, Names

__all__ = ["PASSWORD", "Answer", "Asking", "Step", "role_token"]

PASSWORD = "correct horse battery"
HEADERS = (
    "content-type",
    "x-sb-error-code",
    "x-total-count",
    "link",
    "x-supabase-api-version",
    "sb-auth-user-id",
    "sb-auth-session-id",
    "sb-auth-refresh-token-reuse",
    "sb-auth-refresh-token-rotation",
    "cache-control",
    "allow",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-allow-credentials",
    "access-control-expose-headers",
)
_IDS_OF_NO_USE = frozenset({"audit_log_entries", "mfa_amr_claims", "one_time_tokens", "refresh_tokens"})
MAIL_TIMEOUT_S = 3.0
QUIET_S = 0.2
_LINK = re.compile(r"https?://[^\s\"'<>]+/verify\?[^\s\"'<>]+")

JsonObject: TypeAlias = dict[str, JsonValue]


def role_token(role: str, **claims: object) -> str:
    """A token of the shared secret without a subject, as an API key is."""
    return jwt.encode({"role": role, **claims}, SECRET, algorithm="HS256")


@dataclass(slots=True, frozen=True)
class Step:
    """One request and everything to compare about it, normalised."""

    request: str
    result: JsonObject


@dataclass(slots=True, frozen=True)
class Answer:
    """What came back, as it came."""

    status: int
    headers: httpx.Headers
    body: JsonValue

    def text(self, *path: str) -> str:
        """A text of the body; empty where there is none, so that a scenario goes on and the comparison tells."""
        value = self.body
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""

    @property
    def token(self) -> str:
        """The access token."""
        return self.text("access_token")

    @property
    def refresh_token(self) -> str:
        """The refresh token."""
        return self.text("refresh_token")

    @property
    def user_id(self) -> str:
        """The id of the user, or of the session's user."""
        return self.text("user", "id") or self.text("id")

    @property
    def location(self) -> str:
        """Where a redirect goes."""
        return str(self.headers.get("location", ""))


@dataclass(slots=True)
class Asking:
    """Asks one side and records."""

    side: Side
    mails: MailServer
    steps: list[Step] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    content: dict[str, list[dict[str, JsonValue]]] = field(default_factory=dict)

    admin_token: str = field(default_factory=lambda: role_token("service_role"))

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        version: str | None = None,
        rows: bool = True,
        note: str = "",
    ) -> Answer:
        """Send a request. ``body``: bytes as they are, anything else but None as JSON. ``note`` is for ``intended``."""
        sent = dict(headers or {})
        if token is not None:
            sent["authorization"] = f"Bearer {token or 'none'}"
        if version is not None:
            sent["x-supabase-api-version"] = version
        request = self.side.client.build_request(
            method,
            path,
            headers=sent,
            content=body if isinstance(body, bytes) else None,
            json=None if isinstance(body, bytes) or body is None else body,
        )
        response = self.side.client.send(request)
        answer = Answer(response.status_code, response.headers, parsed(response.text))
        self._record(f"{method} {path}{note and f' #{note}'}", body, answer, rows=rows)
        return answer

    def _record(self, request: str, body: object, answer: Answer, *, rows: bool) -> None:
        step = str(len(self.steps) + 1)
        told = "" if body is None else f" {self.names.normal(_shown(body), f'{step}.request')}"
        title = f"{self.names.normal(request, f'{step}.path')}{told}"[:600]
        seen: JsonObject = {
            name: self.names.normal(_sorted_names(name, answer.headers[name]), f"{step}.{name}")
            for name in HEADERS
            if name in answer.headers
        }
        if "location" in answer.headers:
            seen["location"] = self.names.location(answer.headers["location"], f"{step}.location")
        result: JsonObject = {
            "status": answer.status,
            "body": self.names.normal(_sorted_keys(answer.body), f"{step}.body"),
            "headers": seen,
        }
        if rows:
            result["rows"] = self._rows(step)
        self.steps.append(Step(title, result))

    def _rows(self, step: str) -> JsonObject:
        """What the request changed: table -> new and changed rows and how many went."""
        before, self.content = self.content, self.side.rows()
        changes: JsonObject = {}
        for table, rows in self.content.items():
            known = {str(row["id"]): row for row in before.get(table, [])}
            changed = [row for row in rows if known.get(str(row["id"])) != row]
            gone = known.keys() - {str(row["id"]) for row in rows}
            if changed:
                # The log's order is part of what it says; elsewhere rows of one statement have none.
                is_log = table == "audit_log_entries"
                shown = [_without_id(table, row) for row in changed]
                place = f"{step}.{table}"
                if is_log:
                    changes[table] = [self.names.normal(row, f"{place}[{at}]") for at, row in enumerate(shown)]
                else:
                    changes[table] = self.names.normal_rows(shown, place)
            if gone:
                changes[f"{table} deleted"] = len(gone)
        return changes

    def fresh(self) -> None:
        """Start again from an empty database, with names from one."""
        self.side.empty()
        self.names = Names()
        self.content = {}

    def sign_up(self, email: str = "alice@example.com", password: str = PASSWORD, **fields: object) -> Answer:
        """POST /signup with an address and a password."""
        return self.ask("POST", "/signup", {"email": email, "password": password, **fields})

    def sign_in(self, email: str = "alice@example.com", password: str = PASSWORD) -> Answer:
        """The password grant."""
        return self.ask("POST", "/token?grant_type=password", {"email": email, "password": password})

    def refresh(self, token: str) -> Answer:
        """The refresh grant."""
        return self.ask("POST", "/token?grant_type=refresh_token", {"refresh_token": token})

    def user(self, token: str, note: str = "") -> Answer:
        """GET /user."""
        return self.ask("GET", "/user", token=token, note=note)

    def admin(self, method: str, path: str, body: object = None) -> Answer:
        """As administrator."""
        return self.ask(method, path, body, token=self.admin_token)

    def link(self, kind: str, email: str = "alice@example.com", **fields: object) -> Answer:
        """POST /admin/generate_link."""
        return self.admin("POST", "/admin/generate_link", {"type": kind, "email": email, **fields})

    def mail_to(self, address: str, *, count: int = 1) -> Mail:
        """The newest of ``count`` mails for ``address``, once they are there; an empty one after a while."""
        deadline_s = time.monotonic() + MAIL_TIMEOUT_S
        while True:
            found = self.mails.to(self.side.name, address)
            if len(found) >= count:
                return Mail.of(found[-1])
            if time.monotonic() > deadline_s:
                return Mail("", "")
            time.sleep(0.01)

    def mails_sent(self) -> None:
        """Record to whom mail went since the last time, and the links in it, in the order of the addresses."""
        sent: list[JsonValue] = []
        step = str(len(self.steps) + 1)
        self.mails.watch(self.side.name)
        while arrived := self.mails.arriving(self.side.name, QUIET_S):
            time.sleep(arrived)
        for address, text in sorted(self.mails.take(self.side.name), key=lambda mail: mail[0]):
            found = Mail.of(text)
            link = self.names.location(found.link, f"{step}.{address}") if found.link else None
            words: list[JsonValue] = [
                self.names.normal(_code_hidden(word), f"{step}.{address}") for word in text.split()
            ]
            sent.append({"to": address, "link": link, "words": [word for word in words if "/verify" not in str(word)]})
        self.steps.append(Step("mails sent", {"mails": sent}))

    def record(self, title: str, value: object) -> None:
        """Record something of a scenario's own for the comparison."""
        plain: JsonValue = parsed(json.dumps(value))
        self.steps.append(Step(title, {"value": self.names.normal(plain, f"{len(self.steps) + 1}")}))

    def run(self, sql: str, *values: object) -> Sequence[tuple[object, ...]]:
        """Change or read the database of this side."""
        return self.side.run(sql, *values)


def _shown(body: object) -> JsonValue:
    return body.decode(errors="replace") if isinstance(body, bytes) else parsed(json.dumps(body))


def _sorted_names(header: str, value: str) -> str:
    """The methods of ``Allow`` in alphabetical order: upstream's is that of a map, another one every time."""
    return ", ".join(sorted(value.split(", "))) if header == "allow" else value


def _sorted_keys(body: JsonValue) -> JsonValue:
    """A JWK set in the order of the ids: upstream's is that of a map, another one every time."""
    if isinstance(body, dict) and isinstance(keys := body.get("keys"), list):
        ordered = sorted(keys, key=lambda key: str(key.get("kid")) if isinstance(key, dict) else "")
        return {**body, "keys": ordered}
    return body


def _code_hidden(word: str) -> str:
    return re.sub(r"^code=\d{6,10}$", "code=<code>", word)


def _without_id(table: str, row: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """A row without an id that nothing refers to, so that a row more on one side renames nothing after it."""
    return {name: value for name, value in row.items() if name != "id" or table not in _IDS_OF_NO_USE}


@dataclass(slots=True, frozen=True)
class Mail:
    """What a mail tells."""

    link: str
    code: str

    @classmethod
    def of(cls, text: str) -> Mail:
        """Read link and code out of a mail."""
        link = _LINK.search(text)
        without_link = _LINK.sub("", text)
        code = re.search(r"code=(\d{6,10})", without_link)
        return cls(html.unescape(link[0]) if link else "", code[1] if code else "")

    @property
    def path(self) -> str:
        """The path and query of the link, to ask of the server itself."""
        return "/verify" + self.link.partition("/verify")[2] if self.link else "/verify"

    @property
    def token_hash(self) -> str:
        """The link's token."""
        found = re.search(r"token=([^&]+)", self.link)
        return found[1] if found else ""
