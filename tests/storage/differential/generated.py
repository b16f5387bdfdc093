"""Requests of a seeded generator: per endpoint a body of fields that are right, wrong, missing or of another type."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.storage.differential.asking import Asking
from tests.storage.differential.scenarios.registry import Play

__all__ = ["AREAS", "Area", "generated_play"]

REQUESTS_PER_SEQUENCE = 40
WRONG_SHARE = 0.15
LEFT_OUT_SHARE = 0.3
CALLERS = ("service", "service", "alice", "anon")
_OTHER_TYPES: tuple[object, ...] = (None, 5, True, [], {}, ["x"], {"a": 1}, 1.5, "")
_KEYS = ("one.txt", "d/two.txt", "d/three.txt", "none.txt", "a b", "ü", "", "new.txt")
_BUCKETS = ("b", "p", "none", "x y", "")
_SORT: tuple[object, ...] = ({"column": "name", "order": "asc"}, {"column": "id"}, {"order": "asc"}, {"column": "name"})


@dataclass(slots=True, frozen=True)
class Area:
    """An endpoint: its fields with values to choose from."""

    method: str
    paths: tuple[str, ...]
    fields: Mapping[str, tuple[object, ...]] = field(default_factory=dict)


AREAS: Mapping[str, Area] = {
    "create_bucket": Area(
        "POST",
        ("/bucket",),
        {
            "name": ("n1", "n2", "n3", "b", "bad/name", " n", "n" * 101),
            "public": (True, False, "true", "no"),
            "file_size_limit": (5, "1kb", "1.5mb", "x", -1, None, "100gb"),
            "allowed_mime_types": (["image/*"], ["x"], [], None, "image/png"),
        },
    ),
    "update_bucket": Area(
        "PUT",
        ("/bucket/b", "/bucket/p", "/bucket/none"),
        {"public": (True, False, 0), "file_size_limit": (9, "2kb", None), "allowed_mime_types": (["a/b"], None, [""])},
    ),
    "list": Area(
        "POST",
        ("/object/list/b", "/object/list/p"),
        {
            "prefix": ("", "d", "d/", "o", "none"),
            "limit": (1, 2, 100, "3", 0),
            "offset": (0, 1, "1", -1),
            "search": ("", "t", "one"),
            "sortBy": ({"column": "name", "order": "asc"}, {"column": "name"}, {"column": "x"}),
        },
    ),
    "list_v2": Area(
        "POST",
        ("/object/list-v2/b", "/object/list-v2/p"),
        {"prefix": ("", "d", "d/"), "limit": (1, 2, 5, "3"), "with_delimiter": (True, False, "true"), "sortBy": _SORT},
    ),
    "move": Area(
        "POST",
        ("/object/move",),
        {"bucketId": _BUCKETS, "sourceKey": _KEYS, "destinationKey": _KEYS, "destinationBucket": _BUCKETS[:3]},
    ),
    "copy": Area(
        "POST",
        ("/object/copy",),
        {
            "bucketId": _BUCKETS,
            "sourceKey": _KEYS,
            "destinationKey": _KEYS,
            "destinationBucket": _BUCKETS[:3],
            "copyMetadata": (True, False),
            "metadata": ({"mimetype": "a/b"}, {"cacheControl": "max-age=1"}),
        },
    ),
    "sign": Area(
        "POST",
        ("/object/sign/b/one.txt", "/object/sign/b/none", "/object/sign/p/d/two.txt", "/object/sign/b"),
        {"expiresIn": (60, "60", 0, -1), "paths": (["one.txt"], ["none.txt", "d/two.txt"], [])},
    ),
    "remove": Area(
        "DELETE", ("/object/b", "/object/p", "/object/none"), {"prefixes": (["one.txt"], ["none"], ["d"], [])}
    ),
}


def generated_play(area: Area, seed: str) -> Play:
    """A sequence of requests to an endpoint; the same for the same seed."""

    def play(storage: Asking) -> None:
        choice = random.Random(seed)
        storage.bucket("b")
        storage.bucket("p", public=True)
        for bucket in ("b", "p"):
            for key in ("one.txt", "d/two.txt", "d/three.txt"):
                storage.put(f"{bucket}/{key}", key.encode())
        for _ in range(REQUESTS_PER_SEQUENCE):
            body = json.dumps(_body(area, choice)).encode()
            path, who = choice.choice(area.paths), choice.choice(CALLERS)
            storage.ask(area.method, path, body, who=who, headers={"content-type": "application/json"})

    return play


def _body(area: Area, choice: random.Random) -> dict[str, object]:
    chosen: dict[str, object] = {}
    for name, values in area.fields.items():
        if choice.random() < LEFT_OUT_SHARE:
            continue
        is_wrong = choice.random() < WRONG_SHARE
        chosen[name] = choice.choice(_OTHER_TYPES) if is_wrong else choice.choice(values)
    return chosen
