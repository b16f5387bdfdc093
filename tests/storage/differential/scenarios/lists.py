"""``/object/list`` and ``/object/list-v2``."""

from __future__ import annotations

import base64
import time

from tests.storage.differential.asking import Asking
from tests.storage.differential.scenarios.registry import scenario

CALLERS = (None, "empty", "garbage", "expired", "anon", "alice", "service")
KEYS = (
    "a.txt",
    "B.txt",
    "folder/one.txt",
    "folder/two.txt",
    "folder/sub/three.txt",
    "Folder/four.txt",
    "zeta.txt",
    "under_score.txt",
    "underXscore.txt",
    "per%25cent.txt",
    "a%20b/c.txt",
    "f",
    "fo",
    "folder.txt",
    "10.txt",
    "9.txt",
    "-dash",
)


def _fill(storage: Asking) -> None:
    storage.bucket("b")
    for key in KEYS:
        storage.ask("POST", f"/object/b/{key}", b"x", headers={"content-type": "text/plain"}, rows=False)
        time.sleep(0.003)


@scenario
def list_a_level(storage: Asking) -> None:
    _fill(storage)
    for who in CALLERS:
        storage.ask("POST", "/object/list/b", {"prefix": ""}, who=who, rows=False)
    body: object
    for body in (
        None,
        {},
        [],
        {"prefix": None},
        {"prefix": 5},
        {"prefix": []},
        {"prefix": "folder"},
        {"prefix": "folder/"},
        {"prefix": "folder//"},
        {"prefix": "/folder"},
        {"prefix": "FOLDER"},
        {"prefix": "folder/sub"},
        {"prefix": "fol"},
        {"prefix": "none"},
        {"prefix": "a b"},
        {"prefix": "../"},
        {"prefix": "%"},
        {"prefix": "_"},
        {"prefix": "\\"},
        {"prefix": "ü"},
        {"prefix": "a\u0000"},
        {"prefix": "", "limit": 2},
        {"prefix": "", "limit": 0},
        {"prefix": "", "limit": -1},
        {"prefix": "", "limit": "2"},
        {"prefix": "", "limit": "x"},
        {"prefix": "", "limit": 1.5},
        {"prefix": "", "limit": None},
        {"prefix": "", "limit": 2000},
        {"prefix": "", "limit": 10**12},
        {"prefix": "", "limit": 10**30},
        {"prefix": "", "limit": True},
        {"prefix": "", "offset": 3},
        {"prefix": "", "offset": -1},
        {"prefix": "", "offset": "1"},
        {"prefix": "", "offset": None},
        {"prefix": "", "offset": 10**12},
        {"prefix": "", "offset": 2, "limit": 3},
        {"prefix": "", "search": "f"},
        {"prefix": "", "search": "FO"},
        {"prefix": "", "search": "older"},
        {"prefix": "", "search": "_"},
        {"prefix": "", "search": "%"},
        {"prefix": "", "search": ""},
        {"prefix": "", "search": None},
        {"prefix": "", "search": 5},
        {"prefix": "folder", "search": "t"},
        {"prefix": "folder", "search": "sub/t"},
        {"prefix": "", "search": "folder/t"},
        {"prefix": "", "search": "under_"},
        {"prefix": "", "search": "\\"},
        {"prefix": "", "sortBy": {"column": "name", "order": "desc"}},
        {"prefix": "", "sortBy": {"column": "name", "order": "asc"}},
        {"prefix": "", "sortBy": {"column": "created_at"}},
        {"prefix": "", "sortBy": {"column": "created_at", "order": "desc"}},
        {"prefix": "", "sortBy": {"column": "updated_at", "order": "desc"}},
        {"prefix": "", "sortBy": {"column": "last_accessed_at", "order": "asc"}},
        {"prefix": "", "sortBy": {"column": "id"}},
        {"prefix": "", "sortBy": {"column": "name", "order": "up"}},
        {"prefix": "", "sortBy": {"order": "asc"}},
        {"prefix": "", "sortBy": {}},
        {"prefix": "", "sortBy": None},
        {"prefix": "", "sortBy": "name"},
        {"prefix": "", "sortBy": {"column": None}},
        {"prefix": "", "sortBy": {"column": "name", "order": None}},
        {"prefix": "", "sortBy": {"column": "created_at", "order": "asc"}, "limit": 3, "offset": 2},
        {"prefix": "", "sortBy": {"column": "name", "order": "desc"}, "limit": 4, "offset": 5},
        {"prefix": "", "unknown": 1},
    ):
        storage.ask("POST", "/object/list/b", body, rows=False)
    for bucket in ("none", "a%2Fb", "..", "%00", "b/", ""):
        storage.ask("POST", f"/object/list/{bucket}", {"prefix": ""}, rows=False)
    storage.ask("GET", "/object/list/b")
    storage.open_policies()
    storage.ask("POST", "/object/list/b", {"prefix": ""}, who="anon", rows=False)
    storage.run("create policy \"no\" on storage.objects as restrictive for select using (name not like 'folder/%')")
    storage.ask("POST", "/object/list/b", {"prefix": ""}, who="anon", rows=False)
    storage.ask("POST", "/object/list-v2/b", {"with_delimiter": True}, who="anon", rows=False)


@scenario
def list_a_tree(storage: Asking) -> None:
    _fill(storage)
    for who in CALLERS:
        storage.ask("POST", "/object/list-v2/b", {"prefix": ""}, who=who, rows=False)
    body: object
    for body in (
        None,
        {},
        [],
        {"prefix": None},
        {"prefix": 5},
        {"prefix": "folder"},
        {"prefix": "folder/"},
        {"prefix": "FOLDER"},
        {"prefix": "under_"},
        {"prefix": "%"},
        {"prefix": "\\"},
        {"prefix": "none"},
        {"prefix": "a\u0000"},
        {"with_delimiter": True},
        {"with_delimiter": "true"},
        {"with_delimiter": 1},
        {"with_delimiter": "x"},
        {"with_delimiter": None},
        {"with_delimiter": True, "prefix": "folder"},
        {"with_delimiter": True, "prefix": "folder/"},
        {"with_delimiter": True, "prefix": "f"},
        {"with_delimiter": True, "prefix": "folder/sub"},
        {"limit": 2},
        {"limit": 0},
        {"limit": -1},
        {"limit": "2"},
        {"limit": 1000},
        {"limit": 1001},
        {"limit": 5000},
        {"limit": 10**30},
        {"limit": None},
        {"limit": 1.5},
        {"cursor": ""},
        {"cursor": None},
        {"cursor": "x"},
        {"cursor": "%%"},
        {"cursor": 5},
        {"cursor": base64.b64encode(b"l:a.txt").decode()},
        {"cursor": base64.b64encode(b"l:folder/\no:asc\nc:name").decode()},
        {"cursor": base64.b64encode(b"l:a.txt\no:desc\nc:name").decode()},
        {"cursor": base64.b64encode(b"l:a.txt\no:up\nc:nothing").decode()},
        {"cursor": base64.b64encode(b"o:asc").decode()},
        {"cursor": base64.b64encode(b"l:a.txt\nc:created_at\na:never").decode()},
        {"cursor": base64.b64encode(b"l:a.txt\nc:created_at\na:2020-01-01T00:00:00.000Z").decode()},
        {"cursor": base64.b64encode(b"l:a.txt\nc:created_at").decode()},
        {"cursor": base64.b64encode(b"nothing").decode()},
        {"cursor": base64.b64encode(b"\xff\xfe").decode()},
        {"cursor": base64.b64encode(b"l:a\x00b").decode()},
        {"sortBy": {"column": "name", "order": "desc"}},
        {"sortBy": {"column": "created_at"}},
        {"sortBy": {"column": "created_at", "order": "desc"}},
        {"sortBy": {"column": "updated_at"}},
        {"sortBy": {"column": "last_accessed_at"}},
        {"sortBy": {"order": "desc"}},
        {"sortBy": {"column": "name", "order": "up"}},
        {"sortBy": {"column": "created_at", "order": "desc"}, "with_delimiter": True},
        {"sortBy": {"column": "name", "order": "desc"}, "with_delimiter": True},
        {"unknown": 1},
    ):
        storage.ask("POST", "/object/list-v2/b", body, rows=False)
    for sort in (
        None,
        {"column": "name", "order": "desc"},
        {"column": "created_at", "order": "asc"},
        {"column": "created_at", "order": "desc"},
        {"column": "updated_at", "order": "asc"},
    ):
        for with_delimiter in (False, True):
            cursor = ""
            for _ in range(8):
                page: dict[str, object] = {"limit": 3, "with_delimiter": with_delimiter}
                page |= {"cursor": cursor} if cursor else {}
                page |= {"sortBy": sort} if sort else {}
                answer = storage.ask("POST", "/object/list-v2/b", page, rows=False, note="page")
                cursor = answer.text("nextCursor")
                if not cursor:
                    break
    for bucket in ("none", "a%2Fb", "..", "%00", "b/", ""):
        storage.ask("POST", f"/object/list-v2/{bucket}", {"prefix": ""}, rows=False)
