"""Objects over REST: upload, read, head, info, remove."""

from __future__ import annotations

import base64
import json

from tests.storage.differential.asking import ALICE, Asking, multipart
from tests.storage.differential.scenarios.registry import scenario

CALLERS = (None, "empty", "garbage", "expired", "anon", "alice", "bob", "service")
KINDS = (
    "image/png",
    "text/plain",
    "text/plain;charset=utf-8",
    "text/plain; charset=utf-8",
    "IMAGE/PNG",
    "x",
    "video/mp4",
    "",
)
PATHS = (
    "b/f.txt",
    "public/b/f.txt",
    "authenticated/b/f.txt",
    "p/f.txt",
    "public/p/f.txt",
    "authenticated/p/f.txt",
)
MISSING = (
    "b/none.txt",
    "none/f.txt",
    "public/p/none",
    "public/nowhere/x",
    "authenticated/b/none",
    "sign/b/f.txt",
    "b/",
    "b",
)


@scenario
def upload_raw_bytes(storage: Asking) -> None:
    storage.bucket("b")
    for who in CALLERS:
        storage.ask("POST", f"/object/b/{who}.txt", b"x", who=who, headers={"content-type": "text/plain"})
        storage.ask("PUT", f"/object/b/put-{who}.txt", b"x", who=who, headers={"content-type": "text/plain"})
    for method in ("POST", "PUT"):
        storage.ask(method, "/object/b/f.txt", b"one", headers={"content-type": "text/plain"})
        storage.ask(method, "/object/b/f.txt", b"two", headers={"content-type": "text/plain"})
    for value in ("true", "false", "TRUE", "1", "", " true "):
        storage.put("b/f.txt", b"three", x_upsert=value)
    storage.ask("PUT", "/object/b/f.txt", b"four", headers={"content-type": "text/plain", "x-upsert": "false"})
    for number, kind in enumerate(
        (
            "text/html",
            "text/plain;charset=UTF-8",
            "application/json",
            "image/png",
            "x",
            "a/b/c",
            "",
            "application/x-www-form-urlencoded",
            "text/plain; charset=latin-1",
            "é/x",
            "application/xml",
            "TEXT/PLAIN",
            "multipart/mixed",
            "multipart/form-data",
            "image/svg+xml",
        )
    ):
        storage.put(f"b/kind{number}", b'{"a":1}', kind=kind)
        storage.ask("GET", f"/object/b/kind{number}")
    storage.ask("POST", "/object/b/no-kind", b"abc")
    storage.ask("GET", "/object/b/no-kind")
    storage.put("b/empty.txt", b"")
    storage.ask("POST", "/object/b/none.txt", None, headers={"content-type": "text/plain"})
    storage.ask("POST", "/object/b/none2.txt")
    storage.ask("POST", "/object/b/none3.txt", None, headers={"content-type": "application/json"})
    for value in ("max-age=3600", "3600", "no-store", "", "public, max-age=1"):
        storage.put(f"b/cache-{len(value)}.txt", cache_control=value)
        storage.ask("GET", f"/object/b/cache-{len(value)}.txt")
    for number, value in enumerate(
        (
            base64.b64encode(b'{"a":"1","b":2,"c":{"d":[1]}}').decode(),
            base64.b64encode(b"[1]").decode(),
            base64.b64encode(b'"x"').decode(),
            base64.b64encode(b"5").decode(),
            base64.b64encode(b"null").decode(),
            base64.b64encode(b"{").decode(),
            "%%%",
            "",
            "eyJhIjoxfQ",
            base64.urlsafe_b64encode(json.dumps({"a": "??>>~~ü"}, ensure_ascii=False).encode()).decode(),
        )
    ):
        storage.put(f"b/meta{number}", x_metadata=value)
        storage.ask("GET", f"/object/info/b/meta{number}")
    for headers in ({"x-metadata": base64.b64encode(b'{"kept":1}').decode()}, {}):
        storage.ask("PUT", "/object/b/meta0", b"again", headers={"content-type": "text/plain", **headers})
        storage.ask("POST", "/object/b/meta0", b"x", headers={"x-upsert": "true", **headers}, who="service")
    for number, value in enumerate(("all", "noindex", "noindex, nofollow", "bogus", "googlebot: noindex", "")):
        storage.put(f"b/robots{number}", x_robots_tag=value)
        storage.ask("GET", f"/object/b/robots{number}")


@scenario
def upload_keys(storage: Asking) -> None:
    storage.bucket("b")
    for key in (
        "a",
        "a/b/c.txt",
        "a%2Fencoded",
        "sp%20ace",
        "pl+us",
        "!-_.*'()",
        "q%3Fmark",
        "a&$=@;:,",
        "%C3%BC",
        "h%23ash",
        "til~de",
        "%5Bx%5D",
        "%7Bx%7D",
        "back%5Cslash",
        "back\\slash",
        "per%25cent",
        "%252e",
        "../up",
        "%2e%2e/up",
        "a/../b",
        "a/./b",
        ".",
        "..",
        "...",
        "a/..",
        ".hidden",
        "//double",
        "a//b",
        "/lead",
        "trail/",
        "trail//",
        "%00",
        "nul%00x",
        "%0a",
        "tab%09",
        "%ff",
        "%C0%AF",
        "%",
        "%zz",
        "x" * 900,
        "x" * 1024,
        "x" * 1025,
        "/".join(["d" * 200] * 6),
        "d" * 250 + "/x",
        "f" * 255,
        "f" * 256,
        "f" * 1100,
        "",
        "%20",
        "a%20",
        "%20a",
        ".emptyFolderPlaceholder",
        "CON",
        "a:b",
    ):
        storage.put(f"b/{key}")
        storage.ask("GET", f"/object/b/{key}")
        storage.ask("HEAD", f"/object/b/{key}")
    storage.put("b/folder/.emptyFolderPlaceholder", b"")
    storage.put("none/a")
    storage.put("a%2Fb/a")
    storage.put("../a")
    storage.put("%2e%2e/a")
    storage.put("%00/a")
    storage.ask("POST", "/object/b", b"x", headers={"content-type": "text/plain"})
    storage.ask("POST", "/object/", b"x", headers={"content-type": "text/plain"})
    storage.ask("POST", "/object", b"x", headers={"content-type": "text/plain"})
    storage.ask("POST", "/object//a", b"x", headers={"content-type": "text/plain"})


@scenario
def upload_a_form(storage: Asking) -> None:
    storage.bucket("b")
    file = ("", "a.png", "image/png", b"png")
    forms = {
        "plain": multipart([], file),
        "cache": multipart([("cacheControl", "3600")], file),
        "cache-after": multipart([("cacheControl", "3600")], file, file_first=True),
        "cache-text": multipart([("cacheControl", "no-store")], file),
        "cache-empty": multipart([("cacheControl", "")], file),
        "meta": multipart([("metadata", '{"a":1}')], file),
        "meta-after": multipart([("metadata", '{"a":1}')], file, file_first=True),
        "user-meta": multipart([("userMetadata", '{"a":1}')], file),
        "bad-meta": multipart([("metadata", "{")], file),
        "list-meta": multipart([("metadata", "[1]")], file),
        "kind": multipart([("contentType", "text/css")], file),
        "named": multipart([], ("file", "a.txt", "text/plain", b"text")),
        "no-kind": multipart([], ("file", "a.txt", "", b"text")),
        "empty": multipart([], ("file", "a.txt", "text/plain", b"")),
        "no-file": multipart([("cacheControl", "3600")], None),
        "nothing": multipart([], None),
        "many": multipart([(f"f{n}", "x") for n in range(12)], file),
        "ten": multipart([(f"f{n}", "x") for n in range(10)], file),
    }
    for name, (headers, body) in forms.items():
        storage.ask("POST", f"/object/b/{name}", body, headers=headers)
        storage.ask("GET", f"/object/b/{name}")
        storage.ask("GET", f"/object/info/b/{name}")
    headers, body = forms["plain"]
    storage.ask("PUT", "/object/b/plain", body, headers=headers)
    storage.ask("POST", "/object/b/plain", body, headers=headers)
    storage.ask("POST", "/object/b/upserted", body, headers={**headers, "x-upsert": "true"})
    for number, raw in enumerate((b"", body[:40], b"--boundary--\r\n", b"nonsense", body + b"rest")):
        storage.ask("POST", f"/object/b/raw{number}", raw, headers=headers)
    storage.ask("POST", "/object/b/two", body.replace(b"--boundary--", body), headers=headers)
    storage.ask("POST", "/object/b/unbound", body, headers={"content-type": "multipart/form-data"})
    storage.ask("POST", "/object/b/x", body, headers=headers, who="anon")
    storage.ask("POST", "/object/none/x", body, headers=headers)


@scenario
def upload_within_limits(storage: Asking) -> None:
    storage.bucket("small", file_size_limit=10)
    storage.bucket("images", allowed_mime_types=["image/*", "text/plain"])
    storage.bucket("charset", allowed_mime_types=["text/plain;charset=utf-8"])
    storage.bucket("any", allowed_mime_types=["*/*"])
    storage.bucket("star", allowed_mime_types=["*"])
    storage.put("small/ten", b"0123456789")
    storage.put("small/eleven", b"0123456789x")
    for size in (10, 11, 5000):
        headers, body = multipart([], ("file", "a.txt", "text/plain", b"x" * size))
        storage.ask("POST", f"/object/small/form{size}", body, headers=headers)
    for bucket in ("images", "charset", "any", "star"):
        for kind in KINDS:
            storage.put(f"{bucket}/{kind.replace('/', '-').replace(';', '-').replace(' ', '-')}x", kind=kind)
        headers, body = multipart([], ("file", "a.txt", "video/mp4", b"x"))
        storage.ask("POST", f"/object/{bucket}/form", body, headers=headers)
        headers, body = multipart([("contentType", "image/gif")], ("file", "a.txt", "video/mp4", b"x"))
        storage.ask("POST", f"/object/{bucket}/form2", body, headers=headers)
    storage.put("images/.emptyFolderPlaceholder", b"", kind="application/octet-stream")
    storage.put("images/x/.emptyFolderPlaceholder", b"x", kind="application/octet-stream")
    storage.put("small/.emptyFolderPlaceholder", b"01234567890123")
    storage.ask(
        "POST", "/object/small/claims", b"x", headers={"content-type": "text/plain", "x-upload-content-length": "99"}
    )


@scenario
def upload_by_policies(storage: Asking) -> None:
    storage.bucket("b")
    storage.own_policies()
    for user in ("anon", "alice", "bob", "named", "service"):
        for method in ("POST", "PUT"):
            storage.ask(method, f"/object/b/{ALICE}/{user}.txt", b"x", who=user, headers={"content-type": "text/plain"})
    storage.put(f"b/{ALICE}/alice.txt", who="alice")
    storage.put(f"b/{ALICE}/alice.txt", who="alice", x_upsert="true")
    storage.put(f"b/{ALICE}/service.txt", who="alice", x_upsert="true")
    storage.put(f"b/{ALICE}/alice.txt", who="bob", x_upsert="true")
    storage.put("none/x.txt", who="alice")
    for who in CALLERS:
        for method, path in (
            ("GET", "object/b"),
            ("GET", "object/authenticated/b"),
            ("GET", "object/public/b"),
            ("HEAD", "object/b"),
            ("HEAD", "object/authenticated/b"),
            ("HEAD", "object/public/b"),
            ("GET", "object/info/b"),
            ("GET", "object/info/authenticated/b"),
            ("GET", "object/info/public/b"),
        ):
            storage.ask(method, f"/{path}/{ALICE}/alice.txt", who=who)
    for who in CALLERS:
        storage.ask("DELETE", f"/object/b/{ALICE}/service.txt", who=who)
        storage.ask("DELETE", "/object/b", {"prefixes": [f"{ALICE}/alice.txt", f"{ALICE}/none"]}, who=who)


@scenario
def read_an_object(storage: Asking) -> None:
    storage.bucket("b")
    storage.bucket("p", public=True)
    for bucket in ("b", "p"):
        storage.put(f"{bucket}/f.txt", b"0123456789", cache_control="max-age=60")
        storage.put(f"{bucket}/e.txt", b"")
        storage.put(f"{bucket}/page.html", b"<p>", kind="text/html; charset=utf-8")
    for who in CALLERS:
        for path in PATHS:
            storage.ask("GET", f"/object/{path}", who=who)
            storage.ask("HEAD", f"/object/{path}", who=who)
            storage.ask("GET", f"/object/info/{path}", who=who)
    for missing in MISSING:
        storage.ask("GET", f"/object/{missing}")
        storage.ask("HEAD", f"/object/{missing}")
        storage.ask("GET", f"/object/info/{missing}")
        storage.ask("HEAD", f"/object/info/{missing}")
    for value in (
        "bytes=0-3",
        "bytes=2-",
        "bytes=-3",
        "bytes=0-99",
        "bytes=9-9",
        "bytes=10-",
        "bytes=5-2",
        "bytes=-0",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes=x",
        "bytes=",
        "bytes=-",
        "bytes= 0-1",
        "BYTES=0-1",
        "0-1",
        "",
        "bytes=-99",
        "bytes=0-0",
        "bytes=99999999999999999999-",
        "bytes=0x1-2",
        "bytes=+1-2",
    ):
        for path in ("b/f.txt", "public/p/f.txt", "b/e.txt"):
            storage.ask("GET", f"/object/{path}", headers={"range": value})
        storage.ask("HEAD", "/object/b/f.txt", headers={"range": value})
    etag = storage.ask("GET", "/object/b/f.txt").headers.get("etag", "")
    for headers in (
        {"if-none-match": etag},
        {"if-none-match": etag.strip('"')},
        {"if-none-match": f"W/{etag}"},
        {"if-none-match": f'"x", {etag}'},
        {"if-none-match": "*"},
        {"if-none-match": '"x"'},
        {"if-none-match": ""},
        {"if-match": '"x"'},
        {"if-match": etag},
        {"if-modified-since": "Wed, 21 Oct 2037 07:28:00 GMT"},
        {"if-modified-since": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"if-modified-since": "never"},
        {"if-modified-since": ""},
        {"if-modified-since": "2037-01-01"},
        {"if-unmodified-since": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"if-none-match": etag, "if-modified-since": "Wed, 21 Oct 2015 07:28:00 GMT"},
        {"if-none-match": '"x"', "if-modified-since": "Wed, 21 Oct 2037 07:28:00 GMT"},
        {"if-none-match": etag, "range": "bytes=0-1"},
        {"if-range": etag, "range": "bytes=0-1"},
        {"if-range": '"x"', "range": "bytes=0-1"},
        {"accept-encoding": "gzip"},
        {"accept": "image/webp"},
    ):
        for path in ("b/f.txt", "public/p/f.txt"):
            storage.ask("GET", f"/object/{path}", headers=headers)
        storage.ask("HEAD", "/object/b/f.txt", headers=headers)
    for query in (
        "download",
        "download=",
        "download=a.txt",
        "download=%C3%BC.txt",
        "download=a%20b%22c.txt",
        "download=a%0d%0ab",
        "download=true",
        "download=a&download=b",
        "download=%00",
        "download=%ff",
        "download=!'()*~",
        "unknown=1",
        "cacheNonce=5",
        "version=x",
        "token=x",
        "width=5",
    ):
        for path in ("b/f.txt", "public/p/f.txt", "authenticated/b/f.txt"):
            storage.ask("GET", f"/object/{path}?{query}")
        storage.ask("HEAD", f"/object/b/f.txt?{query}")
        storage.ask("GET", f"/object/info/b/f.txt?{query}")
    storage.ask("GET", "/object/b/page.html")
    storage.ask("HEAD", "/object/b/page.html")
    storage.ask("GET", "/object/info/b/page.html")
    storage.run(
        "insert into storage.objects (bucket_id, name, metadata) values ('b', 'seeded.txt',"
        """ '{"mimetype":"image/png","size":5,"eTag":"x","cacheControl":"max-age=5"}'), ('b', 'bare.txt', null)"""
    )
    for name in ("seeded.txt", "bare.txt"):
        for method in ("GET", "HEAD"):
            storage.ask(method, f"/object/b/{name}")
        storage.ask("GET", f"/object/info/b/{name}")
    for method in ("PATCH", "OPTIONS", "TRACE"):
        storage.ask(method, "/object/b/f.txt")


@scenario
def remove_objects(storage: Asking) -> None:
    storage.bucket("b")
    for name in ("a", "b/c", "d", "e", "f", "x%20y"):
        storage.put(f"b/{name}")
    for who in CALLERS[:-1]:
        storage.ask("DELETE", "/object/b/a", who=who)
        storage.ask("DELETE", "/object/b", {"prefixes": ["a"]}, who=who)
    storage.ask("DELETE", "/object/b/a")
    storage.ask("DELETE", "/object/b/a")
    storage.ask("DELETE", "/object/none/a")
    storage.ask("DELETE", "/object/b/x%20y", b"", headers={"content-type": "application/json"})
    storage.ask("DELETE", "/object/b/d", {"x": 1})
    body: object
    for body in (
        None,
        {},
        [],
        {"prefixes": None},
        {"prefixes": []},
        {"prefixes": "e"},
        {"prefixes": ["b"]},
        {"prefixes": ["none"]},
        {"prefixes": [5]},
        {"prefixes": [None]},
        {"prefixes": [["e"]]},
        {"prefixes": [""]},
        {"prefixes": ["e", "e", "b/c"]},
        {"prefixes": ["../f", "/f", "f\u0000"]},
        {"prefixes": ["ü~#"]},
        {"prefixes": ["x"] * 1001},
        {"prefixes": ["f"], "unknown": 1},
    ):
        storage.ask("DELETE", "/object/b", body)
    storage.ask("DELETE", "/object/none", {"prefixes": ["x"]})
    storage.ask("DELETE", "/object/a%2Fb", {"prefixes": ["x"]})
    storage.ask("DELETE", "/object/b/", {"prefixes": ["x"]})
    storage.ask("DELETE", "/object/", {"prefixes": ["x"]})
    storage.ask("DELETE", "/object/b", b"{", headers={"content-type": "application/json"})
