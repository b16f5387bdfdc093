"""Signed URLs: single, many, for uploads; and their use."""

from __future__ import annotations

import time

import jwt

from isobase_platform.config import DEFAULT_JWT_SECRET
from tests.storage.differential.asking import ALICE, CALLERS, Asking
from tests.storage.differential.scenarios.registry import scenario

WHO = (None, "empty", "garbage", "expired", "anon", "alice", "bob", "service")


def _signed(secret: str = DEFAULT_JWT_SECRET, *, lifetime_s: int = 600, **claims: object) -> str:
    now_s = int(time.time())
    return jwt.encode({"iat": now_s, "exp": now_s + lifetime_s, **claims}, secret, algorithm="HS256")


@scenario
def sign_downloads(storage: Asking) -> None:
    storage.bucket("b")
    storage.own_policies()
    for name in ("one.txt", "a b.txt", "d/e.txt"):
        storage.put(f"b/{name.replace(' ', '%20')}")
    storage.put(f"b/{ALICE}/x.txt", who="alice")
    for who in WHO:
        storage.ask("POST", f"/object/sign/b/{ALICE}/x.txt", {"expiresIn": 60}, who=who)
        storage.ask("POST", "/object/sign/b", {"expiresIn": 60, "paths": [f"{ALICE}/x.txt", "one.txt"]}, who=who)
    body: object
    for body in (
        None,
        {},
        [],
        {"expiresIn": 60},
        {"expiresIn": "60"},
        {"expiresIn": 0},
        {"expiresIn": -1},
        {"expiresIn": 1},
        {"expiresIn": 1.5},
        {"expiresIn": "x"},
        {"expiresIn": None},
        {"expiresIn": True},
        {"expiresIn": 10**9},
        {"expiresIn": 10**14},
        {"expiresIn": 60, "download": True},
        {"expiresIn": 60, "transform": {}},
        {"expiresIn": 60, "transform": None},
        {"expiresIn": 60, "transform": {"width": 100}},
        {
            "expiresIn": 60,
            "transform": {"width": 100, "height": 50, "resize": "contain", "quality": 50, "format": "origin"},
        },
        {"expiresIn": 60, "transform": {"width": "100"}},
        {"expiresIn": 60, "transform": {"width": -1}},
        {"expiresIn": 60, "transform": {"width": 0}},
        {"expiresIn": 60, "transform": {"width": 5000}},
        {"expiresIn": 60, "transform": {"resize": "stretch"}},
        {"expiresIn": 60, "transform": {"quality": 10}},
        {"expiresIn": 60, "transform": {"quality": 101}},
        {"expiresIn": 60, "transform": {"format": "webp"}},
        {"expiresIn": 60, "transform": {"format": "png"}},
        {"expiresIn": 60, "transform": {"unknown": 1}},
        {"expiresIn": 60, "transform": {"width": 5, "gravity": "ce"}},
        {"expiresIn": 60, "transform": "x"},
        {"expiresIn": 60, "unknown": 1},
    ):
        storage.ask("POST", "/object/sign/b/one.txt", body)
    for path in ("a%20b.txt", "d/e.txt", "none.txt", "../x", "%2e%2e/x", "%00", "", "one.txt/", "/one.txt", "%C3%BC"):
        storage.ask("POST", f"/object/sign/b/{path}", {"expiresIn": 60})
    storage.ask("POST", "/object/sign/none/x", {"expiresIn": 60})
    for body in (
        {"expiresIn": 60},
        {"paths": ["one.txt"]},
        {"expiresIn": 60, "paths": []},
        {"expiresIn": 60, "paths": None},
        {"expiresIn": 60, "paths": "one.txt"},
        {"expiresIn": 60, "paths": ["one.txt", "none.txt", "a b.txt", "one.txt", ""]},
        {"expiresIn": 60, "paths": [5]},
        {"expiresIn": 60, "paths": [None]},
        {"expiresIn": 60, "paths": [["x"]]},
        {"expiresIn": 60, "paths": ["../x", "ü", "a\u0000"]},
        {"expiresIn": "60", "paths": ["one.txt"]},
        {"expiresIn": 0, "paths": ["one.txt"]},
        {"expiresIn": 60, "paths": ["x"] * 1001},
        {"expiresIn": 60, "paths": ["one.txt"], "unknown": 1},
    ):
        storage.ask("POST", "/object/sign/b", body)
    storage.ask("POST", "/object/sign/none", {"expiresIn": 60, "paths": ["x"]})


@scenario
def use_signed_downloads(storage: Asking) -> None:
    storage.bucket("b")
    storage.put("b/one.txt", b"0123456789", cache_control="max-age=60")
    storage.put("b/a%20b.txt")
    signed = storage.ask("POST", "/object/sign/b/one.txt", {"expiresIn": 600}).text("signedURL")
    token = signed.partition("token=")[2]
    for method in ("GET", "HEAD"):
        for who in (None, "garbage", "anon"):
            storage.ask(method, f"/object/sign/b/one.txt?token={token}", who=who)
    storage.ask("GET", f"/object/sign/b/one.txt?token={token}&download=x.txt", who=None)
    storage.ask("GET", f"/object/sign/b/one.txt?download&token={token}", who=None)
    storage.ask("GET", f"/object/sign/b/one.txt?token={token}", who=None, headers={"range": "bytes=1-2"})
    storage.ask("GET", f"/object/sign/b/one.txt?token={token}", who=None, headers={"range": "bytes=99-"})
    for target in (
        f"/object/sign/b/a%20b.txt?token={token}",
        f"/object/sign/c/one.txt?token={token}",
        f"/object/sign/b/%6Fne.txt?token={token}",
        f"/object/sign/b/one.txt/?token={token}",
        f"/object/sign/b//one.txt?token={token}",
        "/object/sign/b/one.txt",
        "/object/sign/b/one.txt?token=",
        "/object/sign/b/one.txt?token=x",
        f"/object/sign/b/one.txt?token={token}x",
        f"/object/sign/b/one.txt?token={token}&token={token}",
        f"/object/sign/b/one.txt?TOKEN={token}",
        f"/render/image/sign/b/one.txt?token={token}",
        f"/object/upload/sign/b/one.txt?token={token}",
    ):
        storage.ask("GET", target, who=None)
    storage.ask(
        "PUT", f"/object/upload/sign/b/one.txt?token={token}", b"x", who=None, headers={"content-type": "text/plain"}
    )
    for forged in (
        _signed(url="b/one.txt"),
        _signed(url="b/one.txt", scope="download"),
        _signed(url="b/one.txt", scope="upload"),
        _signed(url="b/one.txt", upsert=False),
        _signed(url="b/one.txt", scope="nothing"),
        _signed(url="b/one.txt", scope="download", lifetime_s=-5),
        _signed(url="/b/one.txt", scope="download"),
        _signed(url="b/none.txt", scope="download"),
        _signed(scope="download"),
        _signed(url=5, scope="download"),
        _signed("another secret that is long enough to sign", url="b/one.txt", scope="download"),
        _signed(url="b/one.txt", scope="download", role="service_role"),
        jwt.encode({"url": "b/one.txt", "scope": "download"}, DEFAULT_JWT_SECRET, algorithm="HS256"),
        jwt.encode({"url": "b/one.txt", "scope": "download"}, "", algorithm="none"),
        jwt.encode({"url": "b/one.txt", "exp": int(time.time()) + 99}, DEFAULT_JWT_SECRET, algorithm="HS384"),
        CALLERS["service"],
        CALLERS["alice"],
    ):
        storage.ask("GET", f"/object/sign/b/one.txt?token={forged}", who=None)
        storage.ask("GET", "/object/b/one.txt", who=forged)
        storage.ask("GET", "/bucket", who=forged)
    storage.ask("DELETE", "/object/b/one.txt")
    storage.ask("GET", f"/object/sign/b/one.txt?token={token}", who=None)


@scenario
def sign_uploads(storage: Asking) -> None:
    storage.bucket("b", file_size_limit=20, allowed_mime_types=["text/plain"])
    storage.own_policies()
    storage.put(f"b/{ALICE}/there.txt", who="alice")
    for who in WHO:
        storage.ask("POST", f"/object/upload/sign/b/{ALICE}/new.txt", who=who)
        storage.ask("POST", f"/object/upload/sign/b/{ALICE}/there.txt", who=who)
        storage.ask("POST", f"/object/upload/sign/b/{ALICE}/there.txt", who=who, headers={"x-upsert": "true"})
    for path in ("b/a%20b.txt", "b/../x", "b/%00", "b/", "none/x", "b/%C3%BC", "b/x/"):
        storage.ask("POST", f"/object/upload/sign/{path}")
    storage.ask("POST", "/object/upload/sign/b/json.txt", {})
    storage.ask("POST", "/object/upload/sign/b/json2.txt", {"x": 1})
    storage.ask("POST", "/object/upload/sign/b/json3.txt", b"", headers={"content-type": "application/json"})
    answer = storage.ask("POST", f"/object/upload/sign/b/{ALICE}/new.txt", who="alice")
    token = answer.text("token")
    target = f"/object/upload/sign/b/{ALICE}/new.txt"
    plain = {"content-type": "text/plain"}
    for bad in (
        target,
        f"{target}?token=",
        f"{target}?token=x",
        f"{target}?token={_signed(url=f'b/{ALICE}/new.txt')}",
        f"{target}?token={_signed(url=f'b/{ALICE}/new.txt', scope='download')}",
        f"{target}?token={_signed(url=f'b/{ALICE}/new.txt', scope='upload', lifetime_s=-5)}",
        f"{target}?token={CALLERS['service']}",
        f"/object/upload/sign/b/other.txt?token={token}",
        f"/object/upload/sign/c/{ALICE}/new.txt?token={token}",
    ):
        storage.ask("PUT", bad, b"x", who=None, headers=plain)
    storage.ask("PUT", f"{target}?token={token}", b"x" * 21, who=None, headers=plain)
    storage.ask("PUT", f"{target}?token={token}", b"x", who=None, headers={"content-type": "image/png"})
    storage.ask("PUT", f"{target}?token={token}", b"one", who=None, headers={**plain, "cache-control": "max-age=5"})
    storage.ask("PUT", f"{target}?token={token}", b"two", who=None, headers=plain)
    storage.ask("PUT", f"{target}?token={token}", b"two", who=None, headers={**plain, "x-upsert": "true"})
    storage.ask("POST", f"{target}?token={token}", b"two", who=None, headers=plain)
    again = storage.ask("POST", target, who="alice", headers={"x-upsert": "true"}).text("token")
    for _ in range(2):
        storage.ask("PUT", f"{target}?token={again}", b"three", who=None, headers=plain)
    legacy = _signed(url=f"b/{ALICE}/legacy.txt", upsert=False, owner=ALICE)
    storage.ask("PUT", f"/object/upload/sign/b/{ALICE}/legacy.txt?token={legacy}", b"x", who=None, headers=plain)
    owned = _signed(url="b/named.txt", scope="upload", owner="not-a-uuid")
    storage.ask("PUT", f"/object/upload/sign/b/named.txt?token={owned}", b"x", who=None, headers=plain)
