"""``/object/move`` and ``/object/copy``."""

from __future__ import annotations

import base64

from tests.storage.differential.asking import ALICE, BOB, Asking
from tests.storage.differential.scenarios.registry import scenario

WHO = (None, "garbage", "expired", "anon", "bob", "alice", "service")
META = base64.b64encode(b'{"m":"1"}').decode()


def _fill(storage: Asking) -> None:
    storage.bucket("b")
    storage.bucket("c", file_size_limit=3, allowed_mime_types=["image/png"])
    storage.bucket("d")
    for name in ("one.txt", "two.txt", "x y.txt", "d/e.txt"):
        storage.put(f"b/{name.replace(' ', '%20')}", x_metadata=META, cache_control="max-age=7")


BAD: tuple[object, ...] = (
    None,
    {},
    [],
    {"bucketId": "b"},
    {"bucketId": "b", "sourceKey": "one.txt"},
    {"sourceKey": "one.txt", "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": "", "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": "one.txt", "destinationKey": ""},
    {"bucketId": "", "sourceKey": "one.txt", "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": None, "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": 5, "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": "one.txt", "destinationKey": "x", "destinationBucket": None},
    {"bucketId": "b", "sourceKey": "one.txt", "destinationKey": "y", "destinationBucket": ""},
    {"bucketId": "b", "sourceKey": "one.txt", "destinationKey": "x", "destinationBucket": "none"},
    {"bucketId": "none", "sourceKey": "one.txt", "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": "none.txt", "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": "two.txt", "destinationKey": "x~"},
    {"bucketId": "b", "sourceKey": "two.txt", "destinationKey": "../x"},
    {"bucketId": "b", "sourceKey": "two.txt", "destinationKey": "/x"},
    {"bucketId": "b", "sourceKey": "two.txt", "destinationKey": "a\u0000b"},
    {"bucketId": "b", "sourceKey": "a\u0000b", "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": "../two.txt", "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": "two.txt", "destinationKey": "x" * 1100},
    {"bucketId": "b/c", "sourceKey": "two.txt", "destinationKey": "x"},
    {"bucketId": "b", "sourceKey": "two.txt", "destinationKey": "d/e.txt"},
    {"bucketId": "b", "sourceKey": "two.txt", "destinationKey": "two.txt"},
    {"bucketId": "b", "sourceKey": "two.txt", "destinationKey": "z", "unknown": 1},
)


@scenario
def move_objects(storage: Asking) -> None:
    _fill(storage)
    for body in BAD:
        storage.ask("POST", "/object/move", body)
    for path in ("one.txt", "two.txt", "x%20y.txt"):
        storage.ask("GET", f"/object/info/b/{path}")
    storage.ask("POST", "/object/move", {"bucketId": "b", "sourceKey": "x y.txt", "destinationKey": "new/place.txt"})
    storage.ask("GET", "/object/b/new/place.txt")
    storage.ask("GET", "/object/b/x%20y.txt")
    across = {"bucketId": "b", "sourceKey": "d/e.txt", "destinationKey": "d/e.txt", "destinationBucket": "d"}
    storage.ask("POST", "/object/move", across)
    storage.ask("GET", "/object/d/d/e.txt")
    limited = {"bucketId": "b", "sourceKey": "new/place.txt", "destinationKey": "l.txt", "destinationBucket": "c"}
    storage.ask("POST", "/object/move", limited)
    storage.ask("POST", "/object/move", {"bucketId": "b"}, headers={"content-type": "text/plain"})
    storage.run("insert into storage.objects (bucket_id, name) values ('b', 'seeded.txt')")
    storage.ask("POST", "/object/move", {"bucketId": "b", "sourceKey": "seeded.txt", "destinationKey": "seeded2.txt"})


@scenario
def move_by_policies(storage: Asking) -> None:
    storage.bucket("b")
    storage.own_policies()
    storage.put(f"b/{ALICE}/a.txt", who="alice")
    storage.put(f"b/{BOB}/b.txt", who="bob")
    mine, theirs = f"{ALICE}/a.txt", f"{BOB}/b.txt"
    for who in WHO:
        _transfer(storage, "move", mine, f"{ALICE}/{who}.txt", who)
        _transfer(storage, "copy", theirs, f"{ALICE}/copy-{who}.txt", who)
        _transfer(storage, "copy", theirs, f"{BOB}/copy-{who}.txt", who)
    _transfer(storage, "move", theirs, f"{ALICE}/given.txt", "bob")
    _transfer(storage, "copy", f"{ALICE}/given.txt", theirs, "bob", upsert="true")


def _transfer(storage: Asking, verb: str, source: str, target: str, who: str | None, *, upsert: str = "false") -> None:
    body = {"bucketId": "b", "sourceKey": source, "destinationKey": target}
    storage.ask("POST", f"/object/{verb}", body, who=who, headers={"x-upsert": upsert})


@scenario
def copy_objects(storage: Asking) -> None:
    _fill(storage)
    for body in BAD:
        storage.ask("POST", "/object/copy", body)
    plain = {"bucketId": "b", "sourceKey": "x y.txt", "destinationKey": "copy.txt"}
    storage.ask("POST", "/object/copy", plain)
    storage.ask("POST", "/object/copy", plain)
    storage.ask("POST", "/object/copy", plain, headers={"x-upsert": "true"})
    storage.ask("GET", "/object/b/copy.txt")
    storage.ask("GET", "/object/info/b/copy.txt")
    extras: tuple[dict[str, object], ...] = (
        {"destinationBucket": "d"},
        {"destinationBucket": "c"},
        {"copyMetadata": True},
        {"copyMetadata": False},
        {"copyMetadata": "false"},
        {"copyMetadata": None},
        {"copyMetadata": "x"},
        {"copyMetadata": False, "metadata": {"cacheControl": "max-age=1", "mimetype": "text/css"}},
        {"copyMetadata": False, "metadata": {"cacheControl": "no-store"}},
        {"copyMetadata": False, "metadata": {"mimetype": "image/gif"}},
        {"copyMetadata": False, "metadata": {}},
        {"copyMetadata": False, "metadata": None},
        {"copyMetadata": False, "metadata": "x"},
        {"copyMetadata": False, "metadata": {"unknown": 1}},
        {"metadata": {"cacheControl": "max-age=1", "mimetype": "text/css"}},
        {"metadata": {"cacheControl": 5}},
    )
    for number, extra in enumerate(extras):
        for headers in ({}, {"x-metadata": base64.b64encode(b'{"n":2}').decode()}):
            name = f"extra{number}-{len(headers)}.txt"
            storage.ask("POST", "/object/copy", {**plain, "destinationKey": name, **extra}, headers=headers)
            storage.ask("GET", f"/object/info/b/{name}")
    storage.ask("POST", "/object/copy", {**plain, "destinationKey": "x y.txt"})
    storage.ask("POST", "/object/copy", {**plain, "destinationKey": "x y.txt"}, headers={"x-upsert": "true"})
    onto = {**plain, "destinationKey": "x y.txt", "copyMetadata": False, "metadata": {"mimetype": "text/css"}}
    storage.ask("POST", "/object/copy", onto, headers={"x-upsert": "true"})
    storage.ask("GET", "/object/b/x%20y.txt")
    storage.run("insert into storage.objects (bucket_id, name) values ('b', 'seeded.txt')")
    storage.ask("POST", "/object/copy", {"bucketId": "b", "sourceKey": "seeded.txt", "destinationKey": "seeded2.txt"})
