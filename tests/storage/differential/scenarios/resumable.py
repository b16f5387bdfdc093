"""TUS: resumable uploads, with a user's token and with a signed one."""

from __future__ import annotations

import base64

from tests.storage.differential.asking import ALICE, Answer, Asking
from tests.storage.differential.scenarios.registry import scenario

R = "/upload/resumable"
KIND = "application/offset+octet-stream"
WHO = ("empty", "garbage", "expired", "anon", "bob", "alice", "service")


def described(**pairs: str | None) -> str:
    """An Upload-Metadata header; None for a name without a value."""
    return ",".join(
        name if value is None else f"{name} {base64.b64encode(value.encode()).decode()}"
        for name, value in pairs.items()
    )


def begin(
    storage: Asking, key: str = "k.txt", length: str | None = "10", *, who: str | None = "service", **extra: str
) -> Answer:
    """POST an upload; further headers with underscores for hyphens."""
    metadata = described(bucketName="b", objectName=key, contentType="text/plain", cacheControl="60")
    headers = {"tus-resumable": "1.0.0", "upload-metadata": metadata}
    headers |= {} if length is None else {"upload-length": length}
    headers |= {name.replace("_", "-"): value for name, value in extra.items()}
    return storage.ask("POST", R, headers=headers, who=who)


def send(
    storage: Asking, path: str, offset: str, content: bytes, *, who: str | None = "service", **extra: str
) -> Answer:
    """PATCH bytes."""
    headers = {"tus-resumable": "1.0.0", "upload-offset": offset, "content-type": KIND}
    headers |= {name.replace("_", "-"): value for name, value in extra.items()}
    return storage.ask("PATCH", path, content, headers=headers, who=who)


def look(storage: Asking, path: str, *, who: str | None = "service") -> Answer:
    """HEAD an upload."""
    return storage.ask("HEAD", path, headers={"tus-resumable": "1.0.0"}, who=who)


@scenario
def upload_in_pieces(storage: Asking) -> None:
    storage.bucket("b")
    path = begin(storage).location
    look(storage, path)
    send(storage, path, "0", b"0123")
    look(storage, path)
    send(storage, path, "0", b"0123")
    send(storage, path, "9", b"x")
    send(storage, path, "4", b"456789")
    look(storage, path)
    send(storage, path, "10", b"")
    storage.ask("GET", "/object/b/k.txt")
    storage.ask("GET", "/object/info/b/k.txt")
    begin(storage)
    again = begin(storage, x_upsert="true").location
    send(storage, again, "0", b"abcdefghij", x_upsert="true")
    storage.ask("GET", "/object/b/k.txt")
    given_up = begin(storage, "gone.txt").location
    send(storage, given_up, "0", b"01")
    storage.ask("DELETE", given_up, headers={"tus-resumable": "1.0.0"})
    look(storage, given_up)
    storage.ask("DELETE", given_up, headers={"tus-resumable": "1.0.0"})
    begin(storage, "empty.txt", "0")
    storage.ask("GET", "/object/b/empty.txt")


@scenario
def create_uploads(storage: Asking) -> None:
    storage.bucket("b")
    storage.bucket("small", file_size_limit=5, allowed_mime_types=["image/png"])
    for who in (None, *WHO):
        begin(storage, f"by-{who}.txt", who=who)
    for length in ("", "x", "-1", "1.5", "1e3", "99999999999999", "52428800", "52428801", " 5 ", None):
        begin(storage, "length.txt", length)
    begin(storage, "deferred.txt", None, upload_defer_length="1")
    begin(storage, "deferred.txt", None, upload_defer_length="2")
    begin(storage, "deferred.txt", "5", upload_defer_length="1")
    for version in ("", "0.2.2", "1.0.1", "x"):
        begin(storage, "version.txt", tus_resumable=version)
    storage.ask(
        "POST", R, headers={"upload-length": "5", "upload-metadata": described(bucketName="b", objectName="nv")}
    )
    for metadata in (
        "",
        described(bucketName="b"),
        described(objectName="x"),
        described(bucketName="", objectName=""),
        described(bucketName="b", objectName=None),
        described(bucketName="none", objectName="x"),
        described(bucketName="b", objectName="../x"),
        described(bucketName="b", objectName="ü"),
        described(bucketName="b", objectName="a\0b"),
        described(bucketName="b/c", objectName="x"),
        described(bucketName="b", objectName="no-kind.txt"),
        described(bucketName="b", objectName="meta.txt", metadata='{"a":1}'),
        described(bucketName="b", objectName="meta2.txt", metadata="{"),
        described(bucketName="b", objectName="cache.txt", cacheControl="no-store"),
        described(bucketName="b", objectName="other.txt", filename="x", extra=None),
        described(bucketName="small", objectName="x.png", contentType="image/png"),
        described(bucketName="small", objectName="x.txt", contentType="text/plain"),
        "bucketName Yg==,bucketName Yg==,objectName eA==",
        "bucketName !!!,objectName eA==",
        "bucketName  Yg==,objectName eA==",
        ",",
        "x y z",
    ):
        storage.ask("POST", R, headers={"tus-resumable": "1.0.0", "upload-length": "9", "upload-metadata": metadata})
    storage.ask("POST", R, headers={"tus-resumable": "1.0.0", "upload-length": "9"})
    begin(storage, "concat.txt", upload_concat="partial")
    begin(storage, "concat2.txt", upload_concat="final;/a /b")
    metadata = described(bucketName="b", objectName="whole.txt", contentType="text/css", metadata='{"m":"1"}')
    headers = {"tus-resumable": "1.0.0", "upload-length": "5", "upload-metadata": metadata, "content-type": KIND}
    storage.ask("POST", R, b"01234", headers=headers)
    storage.ask("GET", "/object/info/b/whole.txt")
    storage.ask("POST", R, b"012345678", headers={**headers, "x-upsert": "true"})
    storage.ask("POST", R, b"012", headers={**headers, "x-upsert": "true", "content-type": "text/plain"})


@scenario
def continue_uploads(storage: Asking) -> None:
    storage.bucket("b")
    path = begin(storage).location
    for offset in ("", "x", "-1", "5", "1.5"):
        send(storage, path, offset, b"01")
    send(storage, path, "0", b"01", content_type="text/plain")
    send(storage, path, "0", b"01", tus_resumable="0.1")
    storage.ask("PATCH", path, b"01", headers={"tus-resumable": "1.0.0", "content-type": KIND})
    storage.ask("PATCH", path, b"01", headers={"tus-resumable": "1.0.0", "upload-offset": "0"})
    send(storage, path, "0", b"0123456789x")
    look(storage, path)
    for who in (None, *WHO):
        look(storage, path, who=who)
    missing = base64.urlsafe_b64encode(b"b/k.txt/11111111-1111-4111-8111-111111111111").decode().rstrip("=")
    for target in (
        f"{R}/{missing}",
        f"{R}/x",
        f"{R}/",
        R,
        f"{R}/%00",
        f"{R}/%zz",
        f"{R}/%ff",
        f"{R}/a%2Fb",
        f"{R}%2Fa",
        f"{R}/{path.rpartition('/')[2]}/x",
    ):
        look(storage, target)
        send(storage, target, "0", b"01")
        storage.ask("DELETE", target, headers={"tus-resumable": "1.0.0"})
    for method in ("GET", "PUT"):
        storage.ask(method, path, headers={"tus-resumable": "1.0.0"})
        storage.ask(method, R, headers={"tus-resumable": "1.0.0"})
    for target in (R, path, f"{R}/sign"):
        storage.ask("OPTIONS", target, who=None)
    deferred = begin(storage, "deferred.txt", None, upload_defer_length="1").location
    look(storage, deferred)
    send(storage, deferred, "0", b"012")
    send(storage, deferred, "3", b"34", upload_length="5")
    look(storage, deferred)
    storage.ask("GET", "/object/b/deferred.txt")


@scenario
def resumable_by_policies(storage: Asking) -> None:
    storage.bucket("b")
    storage.own_policies()
    key = f"{ALICE}/k.txt"
    for who in WHO:
        begin(storage, key, who=who)
        begin(storage, key, who=who, x_upsert="true")
    path = begin(storage, key, who="alice").location
    for who in ("anon", "bob", "expired"):
        send(storage, path, "0", b"01", who=who, x_upsert="true")
    send(storage, path, "0", b"0123456789", who="alice")
    begin(storage, key, who="alice")
    begin(storage, key, who="bob", x_upsert="true")
    over = begin(storage, key, who="alice", x_upsert="true").location
    send(storage, over, "0", b"abcdefghij", who="alice", x_upsert="true")
    storage.ask("GET", f"/object/b/{key}", who="alice")


@scenario
def signed_resumable(storage: Asking) -> None:
    storage.bucket("b")
    storage.own_policies()
    key = f"{ALICE}/k.txt"
    token = storage.ask("POST", f"/object/upload/sign/b/{key}", who="alice").text("token")
    metadata = described(bucketName="b", objectName=key, contentType="text/plain")
    headers = {"tus-resumable": "1.0.0", "upload-length": "4", "upload-metadata": metadata}
    signed = f"{R}/sign"
    for signature in (None, "", "x", token + "x"):
        given = headers if signature is None else {**headers, "x-signature": signature}
        storage.ask("POST", signed, headers=given, who=None)
    other = {**headers, "upload-metadata": described(bucketName="b", objectName="other"), "x-signature": token}
    storage.ask("POST", signed, headers=other, who=None)
    path = storage.ask("POST", signed, headers={**headers, "x-signature": token}, who=None).location
    for given_token in ({}, {"x-signature": token}):
        storage.ask("HEAD", path, headers={"tus-resumable": "1.0.0", **given_token}, who=None)
    patch = {"tus-resumable": "1.0.0", "upload-offset": "0", "content-type": KIND}
    storage.ask("PATCH", path, b"0123", headers=patch, who=None)
    storage.ask("PATCH", path, b"0123", headers={**patch, "x-signature": token}, who=None)
    storage.ask("POST", signed, headers={**headers, "x-signature": token}, who=None)
    storage.ask("GET", f"/object/b/{key}", who="alice")
