"""``/upload/resumable``: TUS, with a token of a user and with that of a signed upload."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from tests.storage.differential.asking import ALICE, Answer, Asking
from tests.storage.differential.scenarios.registry import scenario

R = "/upload/resumable"
OFFSET = "application/offset+octet-stream"


def metadata(pairs: Mapping[str, str | None]) -> str:
    """An Upload-Metadata header; None is a name without a value."""
    return ",".join(
        name if value is None else f"{name} {base64.b64encode(value.encode()).decode()}"
        for name, value in pairs.items()
    )


def create(
    storage: Asking,
    key: str | None,
    length: str | None,
    pairs: Mapping[str, str | None] | None = None,
    *,
    bucket: str | None = "b",
    who: str | None = "service",
    target: str = R,
    body: bytes | None = None,
    **headers: str,
) -> Answer:
    """POST an upload; underscores in the names of headers stand for hyphens, and "" leaves a header out."""
    names = {name: value for name, value in (("bucketName", bucket), ("objectName", key)) if value is not None}
    sent = {
        "tus-resumable": "1.0.0",
        "upload-length": length or "",
        "upload-metadata": metadata({**names, **(pairs or {})}),
        **({"content-type": OFFSET} if body is not None else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    given = {name: value for name, value in sent.items() if value}
    return storage.ask("POST", target, body if body is not None else b"", who=who, headers=given)


def patch(
    storage: Asking, url: str, offset: str, body: bytes, *, who: str | None = "service", **headers: str
) -> Answer:
    """PATCH bytes; headers as for ``create``."""
    sent = {
        "tus-resumable": "1.0.0",
        "upload-offset": offset,
        "content-type": OFFSET,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return storage.ask("PATCH", url, body, who=who, headers={name: value for name, value in sent.items() if value})


def head(storage: Asking, url: str, *, who: str | None = "service", **headers: str) -> Answer:
    """HEAD an upload."""
    sent = {"tus-resumable": "1.0.0", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return storage.ask("HEAD", url, who=who, headers=sent)


def delete(storage: Asking, url: str, *, who: str | None = "service", **headers: str) -> Answer:
    """DELETE an upload."""
    sent = {"tus-resumable": "1.0.0", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return storage.ask("DELETE", url, who=who, headers=sent)


@scenario
def upload_in_pieces(storage: Asking) -> None:
    storage.bucket("b", public=True)
    url = create(
        storage,
        "a/b c.png",
        "10",
        {"contentType": "image/png", "cacheControl": "60", "metadata": '{"a":{"b":1}}', "filename": "x", "flag": None},
    ).location
    head(storage, url)
    patch(storage, url, "0", b"abc")
    head(storage, url)
    patch(storage, url, "3", b"")
    patch(storage, url, "3", b"defghij")
    head(storage, url)
    storage.ask("GET", "/object/public/b/a/b%20c.png", who=None)
    storage.ask("GET", "/object/info/public/b/a/b%20c.png", who=None)
    patch(storage, url, "10", b"")
    delete(storage, url)
    delete(storage, url, x_upsert="true")


@scenario
def upload_with_the_creation(storage: Asking) -> None:
    storage.bucket("b")
    create(storage, "whole", "3", body=b"abc")
    begun = create(storage, "half", "6", body=b"abc").location
    head(storage, begun)
    patch(storage, begun, "3", b"def")
    create(storage, "empty", "0")
    create(storage, "none", "3", body=b"")
    create(storage, "too-much", "3", body=b"abcd")
    create(storage, "type", "3", content_type="text/plain")
    for cache in ("", "0", "-5", "max-age=3", "1.5", "no-store"):
        url = create(storage, f"cache-{cache}", "3", {"cacheControl": cache}, body=b"abc").location
        head(storage, url)
        storage.ask("HEAD", f"/object/b/cache-{cache}")
    for number, text in enumerate(("", "{", "5", "null", '"x"', "[1]", '{"a": "\\u00e9"}')):
        create(storage, f"metadata-{number}", "3", {"metadata": text}, body=b"abc")


@scenario
def upload_of_a_length_that_is_told_later(storage: Asking) -> None:
    storage.bucket("b")
    url = create(storage, "x", None, upload_defer_length="1").location
    head(storage, url)
    patch(storage, url, "0", b"abc")
    head(storage, url)
    patch(storage, url, "3", b"", upload_length="2")
    patch(storage, url, "3", b"de", upload_length="60000000")
    patch(storage, url, "3", b"de", upload_length="5")
    head(storage, url)
    url = create(storage, "y", None, upload_defer_length="1").location
    patch(storage, url, "0", b"", upload_length="0")
    url = create(storage, "z", None, upload_defer_length="1").location
    patch(storage, url, "0", b"def", upload_length="2")


@scenario
def refuse_to_create(storage: Asking) -> None:
    storage.bucket("b", file_size_limit=100, allowed_mime_types=["image/*"])
    storage.bucket("open")
    image = {"contentType": "image/png"}
    for who in (None, "empty", "garbage", "expired"):
        create(storage, "x", "3", image, who=who)
    for length in ("-1", "1.5", "abc", "01", "+1", " 1", "9223372036854775808", "1e3", "101", "100", "52428801"):
        create(storage, "x", length, image)
    create(storage, "x", "52428801", image, bucket="open")
    for version in ("", "0.2.2", "1.0", "1.0.0 "):
        create(storage, "x", "3", image, tus_resumable=version)
    create(storage, "x", None, image)
    create(storage, "x", "3", image, upload_defer_length="1")
    create(storage, "x", None, image, upload_defer_length="2")
    create(storage, "x", "3", image, upload_concat="partial")
    create(storage, "x", "3", image, upload_concat="final;/a /b")
    create(storage, "x", "3", image, upload_concat="nonsense")
    create(storage, "x", "3", image, x_forwarded_proto="ftp")
    for raw in (
        " ",
        "bucketName",
        "bucketName  YQ==",
        "bucketName Y",
        "bucketName YQ=",
        "a YQ==,a YQ==",
        ",",
        "é YQ==",
        "a b c",
    ):
        create(storage, None, "3", bucket=None, upload_metadata=raw)
    for bucket, key in (
        ("none", "x"),
        ("", "x"),
        ("b", ""),
        ("a/b", "x"),
        ("b", "a\\b"),
        ("b", "ünï"),
        ("b", "a//b"),
        ("b", "/a"),
        ("b", "a/"),
    ):
        create(storage, key, "3", image, bucket=bucket)
    create(storage, None, "3", image)
    create(storage, "x", "3", image, bucket=None)
    create(storage, "x", "3", {"contentType": "text/plain"})
    create(storage, "x", "3", {"contentType": "image"})
    storage.ask("POST", R, b"", headers={"tus-resumable": "1.0.0", "upload-length": "3"})
    storage.ask("POST", R, b"", headers={"tus-resumable": "1.0.0"})


@scenario
def refuse_to_continue(storage: Asking) -> None:
    storage.bucket("b")
    url = create(storage, "x", "10").location
    patch(storage, url, "0", b"abc")
    for offset in ("", "0", "4", "-1", "abc", "3.0", "9223372036854775808"):
        patch(storage, url, offset, b"def")
    patch(storage, url, "3", b"def", content_type="")
    patch(storage, url, "3", b"def", content_type="text/plain")
    patch(storage, url, "3", b"defghijk")
    patch(storage, url, "3", b"def", upload_length="10")
    patch(storage, url, "3", b"def", tus_resumable="")
    patch(storage, url, "3", b"def", tus_resumable="2.0.0")
    for who in (None, "garbage", "expired", "anon"):
        patch(storage, url, "3", b"def", who=who)
        head(storage, url, who=who)
        delete(storage, url, who=who)
    head(storage, url, tus_resumable="")
    head(storage, url)


@scenario
def uploads_that_nobody_made(storage: Asking) -> None:
    storage.bucket("b")
    unknown = base64.urlsafe_b64encode(f"b/x/{ALICE}".encode()).decode().rstrip("=")
    elsewhere = base64.urlsafe_b64encode(f"none/x/{ALICE}".encode()).decode().rstrip("=")
    short = base64.urlsafe_b64encode(b"b/x").decode().rstrip("=")
    empty = base64.urlsafe_b64encode(b"b/x/").decode().rstrip("=")
    for segment in (unknown, elsewhere, short, empty, "abc", "%20", f"{unknown}/", f"a/{unknown}", ""):
        patch(storage, f"{R}/{segment}", "0", b"abc")
        head(storage, f"{R}/{segment}")
        delete(storage, f"{R}/{segment}")
    for method in ("PATCH", "HEAD", "DELETE", "PUT", "GET"):
        storage.ask(method, R, headers={"tus-resumable": "1.0.0"})
    storage.ask("PUT", f"{R}/{unknown}", b"abc", headers={"tus-resumable": "1.0.0"})
    storage.ask("GET", f"{R}/{unknown}", headers={"tus-resumable": "1.0.0"})


@scenario
def policies_of_resumable_uploads(storage: Asking) -> None:
    storage.own_policies()
    storage.bucket("b")
    create(storage, "x", "3", who="alice")
    create(storage, "x", "3", who="anon")
    url = create(storage, f"{ALICE}/x", "6", who="alice").location
    for who in ("bob", "anon"):
        patch(storage, url, "0", b"abc", who=who)
        head(storage, url, who=who)
        delete(storage, url, who=who)
    patch(storage, url, "0", b"abc", who="alice")
    patch(storage, url, "3", b"def", who="alice")
    create(storage, f"{ALICE}/x", "3", who="alice")
    again = create(storage, f"{ALICE}/x", "3", who="alice", x_upsert="true").location
    patch(storage, again, "0", b"abc", who="alice")
    patch(storage, again, "0", b"xyz", who="alice", x_upsert="true")
    storage.ask("GET", f"/object/b/{ALICE}/x", who="alice")
    ended = create(storage, f"{ALICE}/y", "3", who="alice").location
    delete(storage, ended, who="alice")
    head(storage, ended, who="alice")
    patch(storage, ended, "0", b"abc", who="alice")


@scenario
def operations_of_resumable_uploads(storage: Asking) -> None:
    storage.bucket("b")
    storage.run(
        "create policy p on storage.objects for insert to authenticated with check"
        " (storage.operation() = any (array['storage.tus.upload.create', 'storage.tus.upload.part'])"
        "  and metadata->>'mimetype' = 'image/png' and (metadata->>'contentLength')::int = 3 and user_metadata->>'a' = 'b')"
    )
    good = {"contentType": "image/png", "metadata": '{"a":"b"}'}
    url = create(storage, "x", "3", good, who="alice").location
    delete(storage, url, who="alice")
    patch(storage, url, "0", b"abc", who="alice")
    create(storage, "y", "4", good, who="alice")
    create(storage, "y", "3", {**good, "metadata": "{"}, who="alice")
    create(storage, "y", "3", {"metadata": '{"a":"b"}'}, who="alice")


@scenario
def resumable_uploads_by_a_signed_token(storage: Asking) -> None:
    storage.bucket("b")
    storage.open_policies()
    signed = storage.ask("POST", "/object/upload/sign/b/x", who="alice")
    token = signed.text("token")
    S = f"{R}/sign"  # noqa: N806  beside R
    create(storage, "x", "3", who=None, target=S)
    create(storage, "x", "3", who=None, target=S, x_signature="garbage")
    create(storage, "y", "3", who=None, target=S, x_signature=token)
    url = create(storage, "x", "3", who=None, target=S, x_signature=token).location
    head(storage, url, who=None)
    head(storage, url, who=None, x_signature=token)
    patch(storage, url, "0", b"ab", who=None)
    patch(storage, url, "0", b"ab", who=None, x_signature=token)
    patch(storage, url, "2", b"c", who=None, x_signature=token)
    head(storage, url, who=None, x_signature=token)
    storage.ask("GET", "/object/b/x", who="alice")
    other = create(storage, "z", "3", who="alice").location
    head(storage, other.replace(R, S), who=None, x_signature=token)
    patch(storage, other.replace(R, S), "0", b"abc", who=None, x_signature=token)
    download = storage.ask("POST", "/object/sign/b/x", {"expiresIn": 60}).text("signedURL").rpartition("=")[2]
    create(storage, "x", "3", who=None, target=S, x_signature=download)
    upsert = storage.ask("POST", "/object/upload/sign/b/x", who="alice", headers={"x-upsert": "true"}).text("token")
    again = create(storage, "x", "3", who=None, target=S, x_signature=upsert).location
    patch(storage, again, "0", b"new", who=None, x_signature=upsert)
    ended = create(storage, "x", "3", who=None, target=S, x_signature=upsert).location
    delete(storage, ended, who=None)
    delete(storage, ended, who=None, x_signature=upsert)


@scenario
def options_of_resumable_uploads(storage: Asking) -> None:
    for target in (R, f"{R}/", f"{R}/abc", f"{R}/sign", f"{R}/sign/abc"):
        storage.ask("OPTIONS", target, who=None)
