"""A scenario's view of one side: it asks, and everything it asked and got is recorded for the comparison."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import jwt

from isobase_platform.config import DEFAULT_JWT_SECRET
from tests.storage.differential.servers import Reply, Side
from tests.storage.differential.values import JsonValue, Names, xml_value

__all__ = ["ALICE", "BOB", "OPEN_POLICIES", "OWNER_POLICIES", "Answer", "Asking", "Step", "token"]

ALICE = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"
HEADERS = (
    "accept-ranges",
    "allow",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "expires",
    "last-modified",
    "location",
    "tus-complete",
    "tus-extension",
    "tus-max-size",
    "tus-resumable",
    "tus-version",
    "upload-defer-length",
    "upload-expires",
    "upload-length",
    "upload-metadata",
    "upload-offset",
    "x-amz-bucket-region",
    "x-amz-copy-source-version-id",
    "x-amz-missing-meta",
    "x-robots-tag",
    "x-transformations",
)
OPEN_POLICIES = (
    'create policy "open" on storage.objects for all using (true) with check (true)',
    'create policy "open" on storage.buckets for all using (true) with check (true)',
)
OWNER_POLICIES = (
    'create policy "read own" on storage.objects for select to authenticated using (owner_id = storage_test_uid())',
    'create policy "insert own" on storage.objects for insert to authenticated'
    " with check ((storage.foldername(name))[1] = storage_test_uid())",
    'create policy "update own" on storage.objects for update to authenticated using (owner_id = storage_test_uid())',
    'create policy "delete own" on storage.objects for delete to authenticated using (owner_id = storage_test_uid())',
)
UID_FUNCTION = (
    "create or replace function public.storage_test_uid() returns text language sql stable as"
    " $$ select current_setting('request.jwt.claims', true)::jsonb ->> 'sub' $$"
)
JsonObject: TypeAlias = dict[str, JsonValue]


def token(role: str, sub: str | None = None, *, lifetime_s: int = 3600, **claims: object) -> str:
    """A token of the demo secret, which both servers know."""
    payload = {"role": role, "exp": int(time.time()) + lifetime_s, **({"sub": sub} if sub else {}), **claims}
    return jwt.encode(payload, DEFAULT_JWT_SECRET, algorithm="HS256")


CALLERS: Mapping[str, str] = {
    "anon": token("anon"),
    "service": token("service_role"),
    "alice": token("authenticated", ALICE),
    "bob": token("authenticated", BOB),
    "named": token("authenticated", "not-a-uuid"),
    "expired": token("authenticated", ALICE, lifetime_s=-60),
    "garbage": "not a token",
    "empty": "",
}


@dataclass(slots=True, frozen=True)
class Step:
    """One request and everything to compare about it, normalised."""

    request: str
    result: JsonObject


@dataclass(slots=True, frozen=True)
class Answer:
    """What came back, as it came."""

    status: int
    headers: Mapping[str, str]
    body: JsonValue

    def text(self, *path: str | int) -> str:
        """A text of the body; empty where there is none, so that a scenario goes on and the comparison tells."""
        value = self.body
        for name in path:
            if isinstance(value, dict) and isinstance(name, str):
                value = value.get(name)
            elif isinstance(value, list) and isinstance(name, int) and name < len(value):
                value = value[name]
            else:
                value = None
        return value if isinstance(value, str) else ""

    @property
    def location(self) -> str:
        """The path of the Location header, from the server's root."""
        location = self.headers.get("location", "")
        return "/" + location.split("/", 3)[3] if location.startswith("http") else location or "/nowhere"


@dataclass(slots=True)
class Asking:
    """Asks one side and records."""

    side: Side
    steps: list[Step] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    content: dict[str, list[JsonObject]] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        who: str | None = "service",
        headers: Mapping[str, str] | None = None,
        rows: bool | None = None,
        note: str = "",
    ) -> Answer:
        """Send a request and record it.

        ``body``: bytes as they are, anything else but None as JSON. ``who``: one of CALLERS, a token, or None for no
        Authorization header. ``rows``: whether to look at the tables after it; default: unless it only reads.
        """
        sent = dict(headers or {})
        if who is not None:
            sent["authorization"] = f"Bearer {CALLERS.get(who, who)}"
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if content is not None and not isinstance(body, bytes) and "content-type" not in sent:
            sent["content-type"] = "application/json"
        reply = self.side.send(method, target, sent, content)
        answer = Answer(reply.status, reply.headers, _body(reply))
        shown = {name: value for name, value in (headers or {}).items() if name != "authorization"}
        told = "" if content is None else f" {content[:300]!r}"
        caller = who if who in CALLERS else "token" if who else None
        self._record(
            f"{method} {target}{note and f' #{note}'} as {caller} {shown or ''}{told}",
            answer,
            rows=method not in {"GET", "HEAD", "OPTIONS"} if rows is None else rows,
            method=method,
        )
        return answer

    def _record(self, request: str, answer: Answer, *, rows: bool, method: str) -> None:
        step = str(len(self.steps) + 1)
        title = self.names.normal(request, f"{step}.path")
        seen: JsonObject = {
            name: self.names.normal(answer.headers[name], f"{step}.{name}")
            for name in (*HEADERS, *sorted(name for name in answer.headers if name.startswith("x-amz-meta-")))
            if name in answer.headers
        }
        is_text = "json" in answer.headers.get("content-type", "") or "xml" in answer.headers.get("content-type", "")
        if is_text and method != "HEAD":
            seen.pop("content-length", None)
        result: JsonObject = {
            "status": answer.status,
            "body": self.names.normal(answer.body, f"{step}.body"),
            "headers": seen,
        }
        if rows:
            result["rows"] = self._rows(step)
        self.steps.append(Step(_shortened(str(title)), result))

    def _rows(self, step: str) -> JsonObject:
        """What the request changed: table -> new and changed rows, and how many went."""
        before, self.content = self.content, self.side.rows()
        changes: JsonObject = {}
        for table, rows in self.content.items():
            known = {str(row["id"]): row for row in before.get(table, [])}
            changed = [row for row in rows if known.get(str(row["id"])) != row]
            gone = known.keys() - {str(row["id"]) for row in rows}
            if changed:
                changes[table] = [
                    self.names.normal(row, f"{step}.{table}[{number}]") for number, row in enumerate(changed)
                ]
            if gone:
                changes[f"{table} gone"] = len(gone)
        return changes

    def bucket(self, name: str, **options: object) -> Answer:
        """Make a bucket as the service."""
        return self.ask("POST", "/bucket", {"name": name, **options})

    def put(
        self, path: str, content: bytes = b"hello", *, who: str = "service", kind: str = "text/plain", **extra: str
    ) -> Answer:
        """Upload raw bytes; underscores in the names of further headers stand for hyphens."""
        more = {name.replace("_", "-"): value for name, value in extra.items()}
        return self.ask("POST", f"/object/{path}", content, who=who, headers={"content-type": kind, **more})

    def record(self, title: str, value: object) -> None:
        """Record something of a scenario's own for the comparison."""
        plain: JsonValue = json.loads(json.dumps(value))
        self.steps.append(Step(title, {"value": self.names.normal(plain, f"{len(self.steps) + 1}")}))

    def run(self, *statements: str) -> None:
        """Change the database of this side."""
        for statement in statements:
            self.side.run(statement)

    def own_policies(self) -> None:
        """A user owns the folder of his id."""
        self.run(UID_FUNCTION, *OWNER_POLICIES)

    def open_policies(self) -> None:
        """Everybody may do everything."""
        self.run(*OPEN_POLICIES)


def _shortened(text: str) -> str:
    """Without the middle of runs of one character."""
    return re.sub(r"(.)\1{20,}", lambda run: f"{run[1]}*{len(run[0])}", text)


def _body(reply: Reply) -> JsonValue:
    kind = reply.headers.get("content-type", "")
    text = reply.body.decode("utf-8", "replace")
    if "json" in kind:
        try:
            value: JsonValue = json.loads(text)
        except ValueError:
            return text
        return value
    if "xml" in kind and text:
        return xml_value(text)
    return text if len(text) < 400 else f"{len(reply.body)} bytes, {hash_of(reply.body)}"


def hash_of(content: bytes) -> str:
    """A short fingerprint of bytes."""
    import hashlib

    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def multipart(
    fields: Sequence[tuple[str, str]], file: tuple[str, str, str, bytes] | None, *, file_first: bool = False
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form: text fields and one file (field name, file name, type, content)."""
    parts = [f'content-disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields]
    if file is not None:
        name, filename, kind, content = file
        head = f'content-disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        head += f"content-type: {kind}\r\n\r\n" if kind else "\r\n"
        parts.insert(0 if file_first else len(parts), head.encode() + content)
    body = b"".join(b"--boundary\r\n" + part + b"\r\n" for part in parts) + b"--boundary--\r\n"
    return {"content-type": "multipart/form-data; boundary=boundary"}, body
