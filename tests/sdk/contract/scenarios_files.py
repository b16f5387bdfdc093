"""The storage client's calls: buckets, files, signed URLs, and what goes wrong."""

from __future__ import annotations

import io
from typing import Any

import httpx

from tests.sdk.contract.kit import Call, Kit, Scenario, scenario

__all__ = ["SCENARIOS"]

TEXT = b"first line\nsecond line\n"


def storage(kit: Kit) -> Any:
    return kit.service.storage


def files(kit: Kit) -> Any:
    return kit.service.storage.from_("files")


def fetched(kit: Kit, call: str, name: str) -> Any:
    """What anybody gets by the URL that ``call`` gave."""
    answer = httpx.get(kit.seen[call][name], trust_env=False)
    return [
        answer.status_code,
        answer.text,
        answer.headers.get("content-type"),
        answer.headers.get("content-disposition"),
    ]


BUCKETS: dict[str, Call] = {
    "none": lambda k: storage(k).list_buckets(),
    "create": lambda k: storage(k).create_bucket("files"),
    "create twice": lambda k: storage(k).create_bucket("files"),
    "create with a name": lambda k: storage(k).create_bucket("other", "another name"),
    "create with options": lambda k: storage(k).create_bucket(
        "pictures", options={"public": True, "file_size_limit": 100, "allowed_mime_types": ["image/png"]}
    ),
    "create with a wrong name": lambda k: storage(k).create_bucket("no/slashes"),
    "create with no name": lambda k: storage(k).create_bucket(""),
    "list": lambda k: storage(k).list_buckets(),
    "get": lambda k: storage(k).get_bucket("pictures"),
    "get none": lambda k: storage(k).get_bucket("nope"),
    "update": lambda k: storage(k).update_bucket("pictures", {"public": False}),
    "update none": lambda k: storage(k).update_bucket("nope", {"public": False}),
    "got updated": lambda k: storage(k).get_bucket("pictures"),
    "upload": lambda k: files(k).upload("a.txt", TEXT),
    "delete a full one": lambda k: storage(k).delete_bucket("files"),
    "empty": lambda k: storage(k).empty_bucket("files"),
    "empty none": lambda k: storage(k).empty_bucket("nope"),
    "delete": lambda k: storage(k).delete_bucket("files"),
    "delete none": lambda k: storage(k).delete_bucket("nope"),
    "too large": lambda k: storage(k).from_("pictures").upload("a.png", b"x" * 101, {"content-type": "image/png"}),
    "wrong kind": lambda k: storage(k).from_("pictures").upload("a.txt", b"x", {"content-type": "text/plain"}),
    "texts only": lambda k: storage(k).create_bucket("texts", options={"allowed_mime_types": ["text/plain"]}),
    "a text": lambda k: storage(k).from_("texts").upload("a.txt", b"x"),
    "a text with a charset": lambda k: (
        storage(k).from_("texts").upload("b.txt", b"x", {"content-type": "text/plain; charset=utf-8"})
    ),
    "as anon": lambda k: k.anon.storage.list_buckets(),
    "create as anon": lambda k: k.anon.storage.create_bucket("mine"),
    "get as anon": lambda k: k.anon.storage.get_bucket("pictures"),
}

FILES: dict[str, Call] = {
    "bucket": lambda k: storage(k).create_bucket("files", options={"public": True}),
    "second bucket": lambda k: storage(k).create_bucket("second"),
    "upload": lambda k: files(k).upload("a/b.txt", TEXT),
    "upload twice": lambda k: files(k).upload("a/b.txt", TEXT),
    "upload over": lambda k: files(k).upload("a/b.txt", TEXT, {"upsert": "true"}),
    "upload over by header": lambda k: files(k).upload("a/b.txt", TEXT, {"x-upsert": "true"}),
    "upload with a kind": lambda k: files(k).upload(
        "a/c.json", b"{}", {"content-type": "application/json", "cache-control": "60"}
    ),
    "upload with metadata": lambda k: files(k).upload("a/d.txt", TEXT, {"metadata": {"who": "Ann"}}),
    "upload a buffered reader": lambda k: files(k).upload("a/f.txt", io.BufferedReader(io.BytesIO(TEXT))),
    "upload a path": lambda k: files(k).upload("a/g.py", __file__),
    "a charset of one's own": lambda k: files(k).upload("i.html", b"<p>", {"content-type": "text/html; charset=utf-8"}),
    "a charset of one's own, told": lambda k: files(k).info("i.html"),
    "upload nothing": lambda k: files(k).upload("a/empty.txt", b""),
    "upload an odd name": lambda k: files(k).upload("a/ü &?#%.txt", TEXT),
    "upload a refused name": lambda k: files(k).upload("a/\x01.txt", TEXT),
    "upload a missing path": lambda k: files(k).upload("a/h.txt", "/no/such/file"),
    "upload to none": lambda k: storage(k).from_("nope").upload("a.txt", TEXT),
    "update": lambda k: files(k).update("a/b.txt", b"new"),
    "update none": lambda k: files(k).update("nope.txt", b"new"),
    "download": lambda k: files(k).download("a/b.txt"),
    "download an odd name": lambda k: files(k).download("a/ü &?#%.txt"),
    "download none": lambda k: files(k).download("nope.txt"),
    "download from none": lambda k: storage(k).from_("nope").download("a.txt"),
    "download with parameters": lambda k: files(k).download("a/b.txt", query_params={"cacheNonce": "1"}),
    "info": lambda k: files(k).info("a/d.txt"),
    "info of none": lambda k: files(k).info("nope.txt"),
    "exists": lambda k: files(k).exists("a/b.txt"),
    "exists not": lambda k: files(k).exists("nope.txt"),
    "list": lambda k: files(k).list(),
    "list a folder": lambda k: files(k).list("a"),
    "list by name": lambda k: files(k).list(
        "a", {"limit": 2, "offset": 1, "sortBy": {"column": "name", "order": "desc"}}
    ),
    "list what is searched": lambda k: files(k).list("a", {"search": "c"}),
    "list of none": lambda k: storage(k).from_("nope").list(),
    "list v2": lambda k: files(k).list_v2({"prefix": "a/", "limit": 2}),
    "list v2 by folder": lambda k: files(k).list_v2({"with_delimiter": True}),
    "list v2 of none": lambda k: storage(k).from_("nope").list_v2(),
    "copy": lambda k: files(k).copy("a/b.txt", "copy.txt"),
    "copy over": lambda k: files(k).copy("a/b.txt", "copy.txt"),
    "copy none": lambda k: files(k).copy("nope.txt", "copy2.txt"),
    "move": lambda k: files(k).move("copy.txt", "moved.txt"),
    "move none": lambda k: files(k).move("nope.txt", "moved2.txt"),
    "public URL": lambda k: files(k).get_public_url("a/ü &?#%.txt"),
    "public URL to save": lambda k: files(k).get_public_url("a/b.txt", {"download": True}),
    "public URL to save under a name": lambda k: files(k).get_public_url("a/b.txt", {"download": "my name.txt"}),
    "public URL of a rendering": lambda k: files(k).get_public_url(
        "a.png", {"transform": {"width": 9, "resize": "fill"}}
    ),
    "signed URL": lambda k: files(k).create_signed_url("a/b.txt", 60),
    "fetched": lambda k: fetched(k, "signed URL", "signedURL"),
    "signed URL to save": lambda k: files(k).create_signed_url("a/b.txt", 60, {"download": "n.txt"}),
    "fetched to save": lambda k: fetched(k, "signed URL to save", "signedUrl"),
    "signed URL of a rendering": lambda k: files(k).create_signed_url("a/b.txt", 60, {"transform": {"width": 9}}),
    "signed URL of none": lambda k: files(k).create_signed_url("nope.txt", 60),
    "signed URL for no time": lambda k: files(k).create_signed_url("a/b.txt", 0),
    "signed URLs": lambda k: files(k).create_signed_urls(["a/b.txt", "nope.txt"], 60),
    "signed URLs to save": lambda k: files(k).create_signed_urls(["a/b.txt"], 60, {"download": True}),
    "signed upload": lambda k: files(k).create_signed_upload_url("up/new.txt"),
    "signed upload twice": lambda k: files(k).create_signed_upload_url("a/b.txt"),
    "upload to it": lambda k: files(k).upload_to_signed_url("up/new.txt", k.seen["signed upload"]["token"], TEXT),
    "upload to another": lambda k: files(k).upload_to_signed_url(
        "up/other.txt", k.seen["signed upload"]["token"], TEXT
    ),
    "upload to a wrong one": lambda k: files(k).upload_to_signed_url("up/new.txt", "broken", TEXT),
    "remove": lambda k: files(k).remove(["a/b.txt", "nope.txt"]),
    "remove nothing": lambda k: files(k).remove([]),
    "remove a text": lambda k: files(k).remove("a/c.json"),
    "as anon": lambda k: k.anon.storage.from_("second").upload("a.txt", TEXT),
    "download as anon": lambda k: k.anon.storage.from_("second").download("a.txt"),
    "a wrong key": lambda k: k.client("wrong", f"{k.place.anon_key[:-4]}AAAA").storage.from_("files").list(),
    "a picture that is none": lambda k: files(k).download("a/d.txt", {"transform": {"width": 10}}),
    "upload a file object": lambda k: files(k).upload("a/e.txt", io.BytesIO(TEXT)),
    "parts": lambda k: [storage(k), files(k), storage(k).vectors(), storage(k).analytics()],
}

SCENARIOS: tuple[Scenario, ...] = (scenario("storage.buckets", BUCKETS), scenario("storage.files", FILES))
