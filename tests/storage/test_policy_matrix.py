"""Who may do what to an object, on every face, for every kind of bucket: the table of contracts/storage.md 1.7.

A kind of bucket is a set of policies, each for one command and some callers. What an operation needs is a line of the
table ``OPERATIONS``; the answer that each cell must give follows from the two alone. One server; cells run side by side,
each on an object of its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote

import httpx
import pytest
from botocore.credentials import Credentials

from tests.storage.conftest import ALICE, BOB, Stack
from tests.storage.images import picture
from tests.storage.s3_clients import signed

V1 = "/storage/v1"
O = f"{V1}/object"  # noqa: E741
PICTURE = picture(4, 4, ".png")
AT_ONCE = 8

Rights: TypeAlias = Mapping[str, frozenset[str]]
"""SQL command -> callers whom a policy lets do it."""

EVERYBODY = frozenset({"anon", "alice", "bob"})
USERS = frozenset({"alice", "bob"})
OWNER = frozenset({"alice"})
NOBODY: frozenset[str] = frozenset()
_ROLE_BY_CALLERS = {EVERYBODY: "public", USERS: "authenticated", OWNER: "authenticated"}


def rights(select: frozenset[str], insert: frozenset[str], update: frozenset[str], delete: frozenset[str]) -> Rights:
    """The policies of a bucket."""
    return {"select": select, "insert": insert, "update": update, "delete": delete}


KINDS: Mapping[str, Rights] = {
    "private-no-policy": rights(NOBODY, NOBODY, NOBODY, NOBODY),
    "public-no-policy": rights(NOBODY, NOBODY, NOBODY, NOBODY),
    "own-folder": rights(OWNER, OWNER, OWNER, OWNER),
    "select-only": rights(EVERYBODY, NOBODY, NOBODY, NOBODY),
    "insert-only": rights(NOBODY, USERS, NOBODY, NOBODY),
    "select-insert": rights(USERS, USERS, NOBODY, NOBODY),
    "no-delete": rights(USERS, USERS, USERS, NOBODY),
    "no-select": rights(NOBODY, EVERYBODY, EVERYBODY, EVERYBODY),
    "public-own-folder": rights(OWNER, OWNER, OWNER, OWNER),
}
CALLERS = ("anon", "alice", "bob", "session alice", "session bob")
OTHERS = ("no token", "expired", "service")
"""Callers whom policies do not concern: asked of two kinds of bucket alone."""


@dataclass(slots=True, frozen=True)
class Cell:
    """One attempt: by whom, on which object of which bucket."""

    stack: Stack
    bucket: str
    who: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """The caller's Authorization header."""
        if self.who == "no token":
            return {}
        return {"authorization": f"Bearer {_token(self.stack, self.who)}"}

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """A request of the caller."""
        content = body if isinstance(body, bytes) else None
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        payload = None if isinstance(body, bytes) else body
        return await self.stack.http.request(method, path, content=content, json=payload, headers=sent)

    async def s3(self, method: str, data: bytes = b"", query: str = "", key: str | None = None) -> httpx.Response:
        """A request with the caller's session."""
        user = self.who.removeprefix("session ")
        credentials = Credentials("local", self.stack.anon_token, _token(self.stack, user))
        path = f"/{self.bucket}/{self.key if key is None else key}{query}"
        return await self.stack.http.send(signed(self.stack, path, method=method, credentials=credentials, data=data))


def _token(stack: Stack, who: str) -> str:
    subs = {"alice": ALICE, "bob": BOB, "expired": ALICE}
    if who == "anon":
        return stack.anon_token
    if who == "service":
        return stack.service_token
    return stack.token("authenticated", subs[who], **({"exp": 1_000_000_000} if who == "expired" else {}))


Act: TypeAlias = Callable[[Cell], Awaitable[str]]


@dataclass(slots=True, frozen=True)
class Operation:
    """A line of the table.

    ``needs``: the commands that policies must allow, in the order in which a missing one is found out, each with what is
    answered then. ``reads_public``: in a public bucket nobody needs a right. ``anonymous``: what is answered to somebody
    without a token that verifies; None: refused as a token.
    """

    act: Act
    needs: tuple[tuple[str, str], ...]
    done: str = "done"
    has_object: bool = True
    reads_public: bool = False
    anonymous: str | None = None
    is_s3: bool = False


def _answer(response: httpx.Response) -> str:
    """What an answer says, in one word, on any face."""
    assert response.status_code < 500, response.text
    if response.status_code < 300:
        return "done"
    if response.content and response.headers.get("content-type", "").startswith("application/json"):
        body = response.json()
        words = {"NoSuchKey": "hidden", "NoSuchBucket": "no bucket", "KeyAlreadyExists": "taken"}
        if body["code"] == "AccessDenied":
            return "token" if "JWS" in body["message"] or "exp" in body["message"] else "denied"
        return words.get(body["code"], str(body["code"]))
    by_status = {400: "hidden", 403: "denied", 404: "hidden", 409: "taken"}
    return by_status[response.status_code]


def _request(method: str, path: str, body: object = None, **headers: str) -> Act:
    async def act(cell: Cell) -> str:
        place = path.format(b=cell.bucket, k=cell.key)
        filled = json.loads(json.dumps(body).replace("KEY", cell.key).replace("BUCKET", cell.bucket))
        content = PICTURE if body is PICTURE_BODY else filled
        return _answer(await cell.ask(method, place, content, **headers))

    return act


PICTURE_BODY = "picture"
PNG = {"content_type": "image/png"}
UPSERT = {**PNG, "x_upsert": "true"}


async def _listed(cell: Cell) -> str:
    folder, _, name = cell.key.rpartition("/")
    answer = await cell.ask("POST", f"{O}/list/{cell.bucket}", {"prefix": folder, "search": name})
    return _answer(answer) if answer.status_code != 200 else "done" if answer.json() else "left out"


async def _listed_as_tree(cell: Cell) -> str:
    answer = await cell.ask("POST", f"{O}/list-v2/{cell.bucket}", {"prefix": cell.key})
    return _answer(answer) if answer.status_code != 200 else "done" if answer.json()["objects"] else "left out"


async def _removed_with_others(cell: Cell) -> str:
    answer = await cell.ask("DELETE", f"{O}/{cell.bucket}", {"prefixes": [cell.key]})
    return _answer(answer) if answer.status_code != 200 else "done" if answer.json() else "left out"


async def _signed_with_others(cell: Cell) -> str:
    answer = await cell.ask("POST", f"{O}/sign/{cell.bucket}", {"expiresIn": 60, "paths": [cell.key]})
    return _answer(answer) if answer.status_code != 200 else "done" if answer.json()[0]["signedURL"] else "left out"


async def _used_signed_url(cell: Cell) -> str:
    body = {"expiresIn": 60}
    path = f"{O}/sign/{cell.bucket}/{cell.key}"
    made = await cell.stack.http.post(path, json=body, headers=cell.stack.admin)
    return _answer(await cell.ask("GET", f"{V1}{made.json()['signedURL']}"))


async def _used_signed_upload(cell: Cell) -> str:
    made = await cell.stack.http.post(f"{O}/upload/sign/{cell.bucket}/{cell.key}", headers=cell.stack.admin)
    return _answer(await cell.ask("PUT", f"{V1}{made.json()['url']}", PICTURE, content_type="image/png"))


def _resumable(upsert: str) -> Act:
    async def act(cell: Cell) -> str:
        pairs = {"bucketName": cell.bucket, "objectName": cell.key, "contentType": "image/png"}
        metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in pairs.items())
        headers = {"tus_resumable": "1.0.0", "upload_length": str(len(PICTURE)), "upload_metadata": metadata}
        kind = "application/offset+octet-stream"
        path = f"{V1}/upload/resumable"
        return _answer(await cell.ask("POST", path, PICTURE, **headers, content_type=kind, x_upsert=upsert))

    return act


def _s3(method: str, data: bytes = b"", query: str = "") -> Act:
    async def act(cell: Cell) -> str:
        return _answer(await cell.s3(method, data, query))

    return act


async def _s3_listed(cell: Cell) -> str:
    answer = await cell.s3("GET", query=f"?list-type=2&prefix={quote(cell.key, safe='')}", key="")
    return _answer(answer) if answer.status_code != 200 else "done" if b"<Key>" in answer.content else "left out"


async def _s3_removed(cell: Cell) -> str:
    assert _answer(await cell.s3("DELETE")) in {"done", "denied"}
    gone = not cell.stack.sql("select from storage.objects where name = %s", cell.key)
    return "done" if gone else "left out"


READ = (("select", "hidden"),)
WRITE_NEW = (("insert", "denied"),)
UPSERT_NEW = (("insert", "denied"), ("select", "denied"))
UPSERT_OLD = (*UPSERT_NEW, ("update", "denied"))
FREE: tuple[tuple[str, str], ...] = ()
MOVE = {"bucketId": "BUCKET", "sourceKey": "KEY", "destinationKey": "KEY-2"}
SIGN = {"expiresIn": 60}

OPERATIONS: Mapping[str, Operation] = {
    "upload": Operation(_request("POST", f"{O}/{{b}}/{{k}}", PICTURE_BODY, **PNG), WRITE_NEW, has_object=False),
    "upload over": Operation(_request("POST", f"{O}/{{b}}/{{k}}", PICTURE_BODY, **PNG), WRITE_NEW, "taken"),
    "upsert new": Operation(_request("POST", f"{O}/{{b}}/{{k}}", PICTURE_BODY, **UPSERT), UPSERT_NEW, has_object=False),
    "upsert over": Operation(_request("POST", f"{O}/{{b}}/{{k}}", PICTURE_BODY, **UPSERT), UPSERT_OLD),
    "put new": Operation(_request("PUT", f"{O}/{{b}}/{{k}}", PICTURE_BODY, **PNG), UPSERT_NEW, has_object=False),
    "put over": Operation(_request("PUT", f"{O}/{{b}}/{{k}}", PICTURE_BODY, **PNG), UPSERT_OLD),
    "download": Operation(_request("GET", f"{O}/{{b}}/{{k}}"), READ, reads_public=True, anonymous="no bucket"),
    "download authenticated": Operation(_request("GET", f"{O}/authenticated/{{b}}/{{k}}"), READ, reads_public=True),
    "head": Operation(_request("HEAD", f"{O}/authenticated/{{b}}/{{k}}"), READ, reads_public=True, anonymous="hidden"),
    "info": Operation(_request("GET", f"{O}/info/{{b}}/{{k}}"), READ, reads_public=True, anonymous="no bucket"),
    "render": Operation(
        _request("GET", f"{V1}/render/image/authenticated/{{b}}/{{k}}?width=2"), READ, reads_public=True
    ),
    "list": Operation(_listed, (("select", "left out"),)),
    "list tree": Operation(_listed_as_tree, (("select", "left out"),)),
    "sign": Operation(_request("POST", f"{O}/sign/{{b}}/{{k}}", SIGN), READ),
    "sign many": Operation(_signed_with_others, (("select", "left out"),)),
    "sign upload": Operation(_request("POST", f"{O}/upload/sign/{{b}}/{{k}}"), WRITE_NEW, has_object=False),
    "sign upsert": Operation(_request("POST", f"{O}/upload/sign/{{b}}/{{k}}", x_upsert="true"), UPSERT_OLD),
    "remove": Operation(_request("DELETE", f"{O}/{{b}}/{{k}}"), (("select", "denied"), ("delete", "denied"))),
    "remove many": Operation(_removed_with_others, (("select", "left out"), ("delete", "left out"))),
    "move": Operation(_request("POST", f"{O}/move", MOVE), (*READ, ("update", "hidden"))),
    "copy": Operation(_request("POST", f"{O}/copy", MOVE), (*READ, ("insert", "denied"))),
    "use signed url": Operation(_used_signed_url, FREE, anonymous="done"),
    "use signed upload": Operation(_used_signed_upload, FREE, anonymous="done", has_object=False),
    "resumable": Operation(_resumable("false"), WRITE_NEW, has_object=False),
    "resumable over": Operation(_resumable("true"), UPSERT_OLD),
    "s3 put": Operation(_s3("PUT", PICTURE), UPSERT_NEW, has_object=False, is_s3=True),
    "s3 put over": Operation(_s3("PUT", PICTURE), UPSERT_OLD, is_s3=True),
    "s3 get": Operation(_s3("GET"), READ, is_s3=True),
    "s3 head": Operation(_s3("HEAD"), READ, is_s3=True),
    "s3 list": Operation(_s3_listed, (("select", "left out"),), is_s3=True),
    "s3 delete": Operation(_s3_removed, (("select", "left out"), ("delete", "left out")), is_s3=True),
    "s3 begin parts": Operation(_s3("POST", query="?uploads"), UPSERT_NEW, has_object=False, is_s3=True),
}


def expected(operation: Operation, kind: str, who: str) -> str:
    """What a cell must answer, by the table alone."""
    if who in {"no token", "expired"} and not operation.is_s3:
        if kind.startswith("public") and operation.reads_public and operation.anonymous == "no bucket":
            return operation.done
        return operation.anonymous or "token"
    if who == "service" or (operation.reads_public and kind.startswith("public")):
        return operation.done
    caller = who.removeprefix("session ")
    for command, refusal in operation.needs:
        if caller not in KINDS[kind][command]:
            return refusal
    return operation.done


async def _prepare(storage: Stack, kind: str) -> None:
    await storage.bucket(kind, public=kind.startswith("public"))
    for command, callers in KINDS[kind].items():
        if not callers:
            continue
        rule = f"bucket_id = '{kind}'"
        rule += f" and (storage.foldername(name))[1] = auth.uid()::text and auth.uid()::text = '{ALICE}'" * (
            callers == OWNER
        )
        using = "" if command == "insert" else f" using ({rule})"
        check = f" with check ({rule})" if command in {"insert", "update"} else ""
        role = _ROLE_BY_CALLERS[callers]
        storage.sql(f'create policy "{kind} {command}" on storage.objects for {command} to {role}{using}{check}')


@pytest.mark.parametrize("kind", KINDS)
async def test_every_caller_may_do_what_policies_say_and_nothing_else(storage: Stack, kind: str) -> None:
    await _prepare(storage, kind)
    gate = asyncio.Semaphore(AT_ONCE)
    wrong: list[str] = []
    cells = [
        (name, operation, Cell(storage, kind, who, f"{ALICE}/{who}-{name}.png".replace(" ", "-")))
        for name, operation in OPERATIONS.items()
        for who in (*CALLERS, *(OTHERS if kind.endswith("own-folder") else ()))
        if who.startswith("session") == operation.is_s3
    ]

    async def seed(cell: Cell) -> None:
        async with gate:
            headers = {**storage.admin, "content-type": "image/png"}
            answer = await storage.http.post(f"{O}/{kind}/{cell.key}", content=PICTURE, headers=headers)
            assert answer.status_code == 200, answer.text

    async def attempt(name: str, operation: Operation, cell: Cell) -> None:
        async with gate:
            answered = await operation.act(cell)
        wanted = expected(operation, kind, cell.who)
        if answered != wanted:
            wrong.append(f"{cell.who}: {name}: {answered}, not {wanted}")

    await asyncio.gather(*(seed(cell) for _, operation, cell in cells if operation.has_object))
    storage.sql("update storage.objects set owner_id = %s, owner = %s::uuid", ALICE, ALICE)
    await asyncio.gather(*(attempt(*one) for one in cells))
    assert not wrong, "\n".join(sorted(wrong))
