"""``/bucket``: make, list, get, change, empty, delete."""

from __future__ import annotations

import time

from tests.storage.differential.asking import Asking
from tests.storage.differential.scenarios.registry import scenario

CALLERS = (None, "empty", "garbage", "expired", "anon", "alice", "service")


@scenario
def make_a_bucket(storage: Asking) -> None:
    body: object
    for who in CALLERS:
        storage.ask("POST", "/bucket", {"name": f"by-{who}"}, who=who)
    for body in (
        None,
        {},
        [],
        "x",
        5,
        {"name": None},
        {"name": ""},
        {"name": 5},
        {"name": True},
        {"name": ["x"]},
        {"name": {}},
        {"name": "one"},
        {"name": "one"},
        {"name": "two", "id": "two-id"},
        {"name": "three", "id": "one"},
        {"name": "one", "id": "four"},
        {"name": "five", "id": ""},
        {"name": "six", "id": None},
        {"name": "seven", "id": 7},
        {"name": "bad id", "id": "a/b"},
        {"name": "p1", "public": True},
        {"name": "p2", "public": "true"},
        {"name": "p3", "public": "yes"},
        {"name": "p4", "public": 1},
        {"name": "p5", "public": 0},
        {"name": "p6", "public": None},
        {"name": "p7", "public": "false"},
        {"name": "p8", "public": []},
        {"name": "l1", "file_size_limit": 5},
        {"name": "l2", "file_size_limit": "5"},
        {"name": "l3", "file_size_limit": "5mb"},
        {"name": "l4", "file_size_limit": "1.5kb"},
        {"name": "l5", "file_size_limit": "5 mb"},
        {"name": "l6", "file_size_limit": -1},
        {"name": "l7", "file_size_limit": 1.5},
        {"name": "l8", "file_size_limit": None},
        {"name": "l9", "file_size_limit": ""},
        {"name": "l10", "file_size_limit": "100gb"},
        {"name": "l11", "file_size_limit": 60_000_000},
        {"name": "l12", "file_size_limit": True},
        {"name": "l13", "file_size_limit": 0},
        {"name": "l14", "file_size_limit": {}},
        {"name": "l15", "file_size_limit": "3B"},
        {"name": "l16", "file_size_limit": "1.23456mb"},
        {"name": "l17", "file_size_limit": "0"},
        {"name": "l18", "file_size_limit": "x"},
        {"name": "l19", "file_size_limit": []},
        {"name": "l20", "file_size_limit": ["5"]},
        {"name": "m1", "allowed_mime_types": []},
        {"name": "m2", "allowed_mime_types": None},
        {"name": "m3", "allowed_mime_types": ["image/png", "image/*"]},
        {"name": "m4", "allowed_mime_types": ["", "image/png"]},
        {"name": "m5", "allowed_mime_types": ["nothing"]},
        {"name": "m6", "allowed_mime_types": ["*"]},
        {"name": "m7", "allowed_mime_types": ["*/*"]},
        {"name": "m8", "allowed_mime_types": ["text/plain;charset=utf-8"]},
        {"name": "m9", "allowed_mime_types": ["text/plain; charset=utf-8"]},
        {"name": "m10", "allowed_mime_types": ["text/plain;format=flowed"]},
        {"name": "m11", "allowed_mime_types": "image/png"},
        {"name": "m12", "allowed_mime_types": [5]},
        {"name": "m13", "allowed_mime_types": [None]},
        {"name": "m14", "allowed_mime_types": ["image/svg+xml", "application/vnd.ms-excel"]},
        {"name": "m15", "allowed_mime_types": [["x"]]},
        {"name": "m16", "allowed_mime_types": ["image/"]},
        {"name": "m17", "allowed_mime_types": ["/png"]},
        {"name": "m18", "allowed_mime_types": {}},
        {"name": "t1", "type": "STANDARD"},
        {"name": "t3", "type": "VECTOR"},
        {"name": "t4", "type": "standard"},
        {"name": "t5", "type": None},
        {"name": "u1", "unknown": 1},
        {"name": "x" * 100},
        {"name": "x" * 101},
        {"name": " outer"},
        {"name": "outer "},
        {"name": "in ner"},
        {"name": "a/b"},
        {"name": "."},
        {"name": ".."},
        {"name": "ü"},
        {"name": "a\u0000b"},
        {"name": "a\nb"},
        {"name": "a%20b"},
        {"name": "x--table-s3"},
        {"name": "a!b*c'd()&$=@;:+,?-_."},
    ):
        storage.ask("POST", "/bucket", body)
    for raw, kind in (
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"nothing", "application/json"),
        (b'{"name":"raw1"}', "application/json; charset=utf-8"),
        (b'{"name":"raw2"}', "text/plain"),
        (b'{"name":"raw3"}', "application/x-www-form-urlencoded"),
        (b'{"name":"raw4"}', "application/octet-stream"),
        (b'{"name":"raw5"}', "nonsense"),
        (b'{"name":"raw6"}', ""),
        (b'{"name":"raw7"} x', "application/json"),
        (b'{"name":"raw8","name":"raw9"}', "application/json"),
        (b'\xff{"name":"raw10"}', "application/json"),
        (b'{"name":"raw11\xff"}', "application/json"),
        (b'{"__proto__":{"x":1},"name":"raw12"}', "application/json"),
        (b'{"name":"raw13","constructor":{"prototype":1}}', "application/json"),
        (b'{"name": NaN}', "application/json"),
        (b'{"name": 1e400}', "application/json"),
        (b'{"name":"raw14\\ud800"}', "application/json"),
        (b"null", "application/json"),
        (b"[" * 2000, "application/json"),
        (b'{"name":"' + b"x" * 1_100_000 + b'"}', "application/json"),
    ):
        storage.ask("POST", "/bucket", raw, headers={"content-type": kind})
    storage.ask("POST", "/bucket", b'{"name":"raw20"}')
    storage.ask("POST", "/bucket/", {"name": "slash"})


@scenario
def list_buckets(storage: Asking) -> None:
    for who in CALLERS:
        storage.ask("GET", "/bucket", who=who)
    for name in ("alpha", "Beta", "gamma_1", "gamma%1", "delta\\x", "10"):
        storage.bucket(name)
        time.sleep(0.003)
    for who in CALLERS:
        storage.ask("GET", "/bucket", who=who)
    for query in (
        "limit=2",
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1.5",
        "limit=1e1",
        "limit=99999999999999999999",
        "limit=1&limit=2",
        "offset=2",
        "offset=-1",
        "offset=x",
        "offset=0",
        "limit=2&offset=1",
        "sortColumn=id",
        "sortColumn=name&sortOrder=desc",
        "sortColumn=created_at",
        "sortColumn=created_at&sortOrder=desc",
        "sortColumn=updated_at&sortOrder=asc",
        "sortColumn=owner",
        "sortColumn=",
        "sortOrder=desc",
        "sortOrder=up",
        "sortColumn=name&sortOrder=",
        "search=a",
        "search=AM",
        "search=_",
        "search=%25",
        "search=%5C",
        "search=",
        "search=nothing",
        "search=a&search=b",
        "search=%00",
        "search=%ff",
        "search=%",
        "unknown=1",
        "search=a&limit=1&sortColumn=name",
    ):
        storage.ask("GET", f"/bucket?{query}")
    for name, value in (
        ("x-client-info", "supabase-py/2.17.9"),
        ("x-client-info", "supabase-py/2.18.0"),
        ("user-agent", "supabase-py/storage3 v0.12.0"),
        ("user-agent", "supabase-py/storage3 v0.12.1"),
    ):
        storage.ask("GET", "/bucket?limit=1", headers={name: value})
    storage.ask("GET", "/bucket/")
    storage.ask("HEAD", "/bucket")


@scenario
def get_a_bucket(storage: Asking) -> None:
    storage.bucket("one", public=True, file_size_limit="1mb", allowed_mime_types=["image/*"])
    storage.bucket("a b")
    for who in CALLERS:
        storage.ask("GET", "/bucket/one", who=who)
    for name in (
        "none",
        "a%20b",
        "%6Fne",
        "one/",
        "one/x",
        "..",
        "%2e%2e",
        "a%2Fb",
        "%00",
        "%ff",
        "%",
        "%zz",
        "x" * 200,
    ):
        storage.ask("GET", f"/bucket/{name}")
    storage.ask("HEAD", "/bucket/one")
    storage.ask("HEAD", "/bucket/none")
    storage.ask("PATCH", "/bucket/one")
    storage.ask("POST", "/bucket/one", {})


@scenario
def change_a_bucket(storage: Asking) -> None:
    storage.bucket("one")
    body: object
    for who in CALLERS:
        storage.ask("PUT", "/bucket/one", {"public": True}, who=who)
    for body in (
        None,
        {},
        [],
        {"public": False},
        {"public": None},
        {"public": "true"},
        {"public": "x"},
        {"file_size_limit": 10},
        {"file_size_limit": "10kb"},
        {"public": True},
        {"file_size_limit": None},
        {"file_size_limit": "100gb"},
        {"file_size_limit": -1},
        {"file_size_limit": "x"},
        {"allowed_mime_types": ["image/png"]},
        {"allowed_mime_types": []},
        {"allowed_mime_types": ["bad"]},
        {"allowed_mime_types": None},
        {"allowed_mime_types": "image/png"},
        {"name": "new"},
        {"id": "new", "public": True},
        {"unknown": 1},
        {"type": "ANALYTICS", "public": True},
    ):
        storage.ask("PUT", "/bucket/one", body)
    storage.ask("PUT", "/bucket/none", {"public": True})
    storage.ask("PUT", "/bucket/none", {"file_size_limit": "100gb"})
    storage.ask("PUT", "/bucket/a%2Fb", {"public": True})
    storage.open_policies()
    storage.ask("PUT", "/bucket/one", {"public": False}, who="alice")


@scenario
def empty_and_delete_a_bucket(storage: Asking) -> None:
    for name in ("one", "two", "three"):
        storage.bucket(name)
    for number in range(3):
        storage.put(f"one/f{number}.txt")
    storage.put("two/x/y.txt")
    for who in CALLERS[:-1]:
        storage.ask("POST", "/bucket/one/empty", who=who)
        storage.ask("DELETE", "/bucket/one", who=who)
    storage.ask("DELETE", "/bucket/one")
    storage.ask("POST", "/bucket/none/empty")
    storage.ask("DELETE", "/bucket/none")
    storage.ask("DELETE", "/bucket/three", b"", headers={"content-type": "application/json"})
    storage.ask("DELETE", "/bucket/three", b"", headers={"content-type": "application/json"})
    storage.ask("POST", "/bucket/two/empty", b"{", headers={"content-type": "application/json"})
    storage.ask("POST", "/bucket/two/empty", {"x": 1})
    storage.ask("DELETE", "/bucket/two", {})
    storage.open_policies()
    storage.bucket("four")
    storage.ask("DELETE", "/bucket/four", who="alice")
