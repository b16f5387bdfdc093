"""The S3 protocol with signed requests: service's key, and a user's session."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from isobase_platform.config_storage import DEFAULT_S3_ACCESS_KEY_ID, DEFAULT_S3_SECRET_ACCESS_KEY
from tests.storage.differential.asking import Answer, Asking
from tests.storage.differential.scenarios.registry import scenario

SERVICE = Credentials(DEFAULT_S3_ACCESS_KEY_ID, DEFAULT_S3_SECRET_ACCESS_KEY)
REGION = "local"


def ask(
    storage: Asking,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    credentials: Credentials = SERVICE,
    more: Mapping[str, str] | None = None,
    **headers: str,
) -> Answer:
    """A signed request; further headers with underscores for hyphens, or as they are in ``more``."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | dict(more or {})
    url = f"http://{storage.side.address}/s3{path}"
    request = AWSRequest(method, url, headers=sent, data=body)
    S3SigV4Auth(credentials, "s3", REGION).add_auth(request)
    signed = {name: str(value) for name, value in request.headers.items()}
    hidden = {"authorization", "x-amz-date", "x-amz-content-sha256"}
    shown = {name: value for name, value in signed.items() if name.lower() not in hidden}
    for name in signed.keys() - shown.keys():
        storage.names.secrets[signed[name]] = f"<{name.lower()}>"
    content = body if body or method in {"PUT", "POST"} else None
    return storage.ask(method, f"/s3{path}", content, who=None, headers=signed)


def upload_id(answer: Answer) -> str:
    """The id of a multipart upload that was begun, or a text that is none."""
    found = [item for item in answer.body if isinstance(item, list)] if isinstance(answer.body, list) else []
    pairs = [child for item in found for child in item if isinstance(child, list)]
    return next((str(text) for name, text in pairs if str(name).endswith("UploadId")), "none")


def completion(*parts: tuple[int, str]) -> bytes:
    """The body of CompleteMultipartUpload."""
    rows = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts)
    return f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()


@scenario
def s3_buckets(storage: Asking) -> None:
    ask(storage, "GET", "/")
    ask(storage, "PUT", "/one")
    ask(storage, "PUT", "/one")
    ask(storage, "PUT", "/two", x_amz_acl="public-read")
    for name in ("a%2Fb", "%C3%BC", "x" * 101, "in%20ner", "x--table-s3"):
        ask(storage, "PUT", f"/{name}")
        ask(storage, "HEAD", f"/{name}")
        ask(storage, "PUT", f"/{name}/k", b"x")
        ask(storage, "GET", f"/{name}/k")
        ask(storage, "HEAD", f"/{name}/k")
        ask(storage, "GET", f"/{name}?list-type=2")
    ask(storage, "GET", "/")
    for path in ("/one", "/none"):
        ask(storage, "HEAD", path)
        ask(storage, "GET", f"{path}?location")
        ask(storage, "GET", f"{path}?versioning")
    ask(storage, "PUT", "/one%2Fk")
    ask(storage, "PUT", "/one/a%2Fb", b"x")
    for path in ("/one/a/b", "/one/a%2Fb", "/one%2Fa/b", "/one/%zz", "/one/%ff", "/%zz"):
        storage.ask("GET", f"/s3{path}", who=None)
        ask(storage, "GET", path)
    ask(storage, "PUT", "/one/k", b"x")
    ask(storage, "DELETE", "/one")
    ask(storage, "DELETE", "/two")
    ask(storage, "DELETE", "/none")


@scenario
def s3_objects(storage: Asking) -> None:
    storage.bucket("b")
    put = ask(storage, "PUT", "/b/k.txt", b"0123456789", content_type="text/plain", x_amz_meta_a="1", x_amz_meta_b="2")
    etag = put.headers.get("etag", "")
    ask(storage, "PUT", "/b/k2.txt", b"x", cache_control="max-age=9", content_disposition="attachment")
    ask(storage, "PUT", "/b/empty", b"")
    ask(storage, "PUT", "/b/folder/", b"")
    ask(storage, "PUT", "/none/k", b"x")
    ask(storage, "PUT", "/b/%C3%BC", b"x")
    ask(storage, "PUT", "/b/a%20b", b"x")
    for method in ("GET", "HEAD"):
        for path in ("/b/k.txt", "/b/none", "/none/k", "/b/empty", "/b/folder/", "/b/a%20b"):
            ask(storage, method, path)
        for name, value in (
            ("range", "bytes=2-4"),
            ("range", "bytes=-3"),
            ("range", "bytes=99-"),
            ("range", "x"),
            ("if-none-match", etag),
            ("if-none-match", '"x"'),
            ("if-match", '"x"'),
            ("if-match", etag),
            ("if-modified-since", "Wed, 21 Oct 2037 07:28:00 GMT"),
            ("if-modified-since", "Wed, 21 Oct 2015 07:28:00 GMT"),
            ("if-unmodified-since", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ):
            ask(storage, method, "/b/k.txt", more={name: value})
    ask(storage, "GET", "/b/k.txt?response-content-type=text%2Fcss&response-cache-control=no-store")
    ask(storage, "GET", "/b/k.txt?response-content-disposition=attachment%3B%20filename%3Dx")
    ask(storage, "GET", "/b/k.txt?tagging")
    ask(storage, "GET", "/b/none?tagging")
    ask(storage, "PUT", "/b/copy.txt", x_amz_copy_source="/b/k.txt")
    ask(storage, "PUT", "/b/copy2.txt", x_amz_copy_source="b/a%20b")
    ask(storage, "PUT", "/b/copy3.txt", x_amz_copy_source="/b/none")
    ask(storage, "PUT", "/b/copy4.txt", x_amz_copy_source="x")
    replace = {"x-amz-metadata-directive": "REPLACE", "content-type": "text/css", "x-amz-meta-c": "3"}
    ask(storage, "PUT", "/b/copy5.txt", x_amz_copy_source="/b/k.txt", more=replace)
    ask(storage, "GET", "/b/copy5.txt")
    ask(storage, "PUT", "/b/copy6.txt", x_amz_copy_source="/b/k.txt", x_amz_copy_source_if_match='"x"')
    ask(storage, "DELETE", "/b/copy.txt")
    ask(storage, "DELETE", "/b/copy.txt")
    ask(storage, "DELETE", "/none/copy.txt")
    many = b"<Delete><Object><Key>k2.txt</Key></Object><Object><Key>none</Key></Object></Delete>"
    ask(storage, "POST", "/b?delete", many, content_type="application/xml")
    ask(storage, "POST", "/b?delete", b"<Delete><Quiet>true</Quiet></Delete>", content_type="application/xml")
    ask(storage, "POST", "/b?delete", b"<x", content_type="application/xml")


@scenario
def s3_lists(storage: Asking) -> None:
    storage.bucket("b")
    for key in ("a.txt", "b.txt", "d/one.txt", "d/two.txt", "d/e/f.txt", "sp%20ace", "z.txt"):
        ask(storage, "PUT", f"/b/{key}", b"x")
    for query in (
        "",
        "list-type=2",
        "list-type=2&delimiter=%2F",
        "list-type=2&prefix=d%2F",
        "list-type=2&prefix=d%2F&delimiter=%2F",
        "list-type=2&max-keys=2",
        "list-type=2&max-keys=0",
        "list-type=2&max-keys=-1",
        "list-type=2&max-keys=x",
        "list-type=2&max-keys=2000",
        "list-type=2&start-after=b.txt",
        "list-type=2&encoding-type=url",
        "list-type=2&fetch-owner=true",
        "list-type=2&continuation-token=x",
        "list-type=2&prefix=none",
        "list-type=3",
        "delimiter=%2F",
        "prefix=d%2F",
        "marker=b.txt",
        "max-keys=2",
        "uploads",
    ):
        ask(storage, "GET", f"/b?{query}")
    ask(storage, "GET", "/none?list-type=2")
    ask(storage, "GET", "/b/?list-type=2")


@scenario
def s3_uploads_in_parts(storage: Asking) -> None:
    storage.bucket("b")
    begun = ask(storage, "POST", "/b/k.bin?uploads", content_type="image/png", x_amz_meta_a="1")
    upload = upload_id(begun)
    base = f"/b/k.bin?uploadId={upload}"
    etags = []
    for number in (1, 2):
        part = ask(storage, "PUT", f"/b/k.bin?partNumber={number}&uploadId={upload}", b"p%d" % number * 10)
        etags.append(part.headers.get("etag", ""))
    ask(storage, "GET", base)
    ask(storage, "GET", f"{base}&max-parts=1")
    ask(storage, "GET", "/b?uploads")
    for stated in ("0", "10001", "x", ""):
        ask(storage, "PUT", f"/b/k.bin?partNumber={stated}&uploadId={upload}", b"x")
    ask(storage, "PUT", "/b/k.bin?partNumber=1&uploadId=none", b"x")
    ask(storage, "POST", base, completion((1, '"wrong"')), content_type="application/xml")
    ask(storage, "POST", base, completion((1, etags[0]), (2, etags[1])), content_type="application/xml")
    ask(storage, "GET", "/b/k.bin")
    ask(storage, "GET", base)
    ask(storage, "POST", base, completion((1, etags[0])), content_type="application/xml")
    given_up = upload_id(ask(storage, "POST", "/b/x.bin?uploads"))
    ask(storage, "DELETE", f"/b/x.bin?uploadId={given_up}")
    ask(storage, "DELETE", f"/b/x.bin?uploadId={given_up}")
    ask(storage, "POST", "/none/x?uploads")


@scenario
def s3_signatures(storage: Asking) -> None:
    storage.bucket("b")
    ask(storage, "PUT", "/b/k", b"x")
    for credentials in (
        Credentials("nobody", DEFAULT_S3_SECRET_ACCESS_KEY),
        Credentials(DEFAULT_S3_ACCESS_KEY_ID, "wrong"),
        Credentials(DEFAULT_S3_ACCESS_KEY_ID, DEFAULT_S3_SECRET_ACCESS_KEY, "a token that is none"),
    ):
        ask(storage, "GET", "/b/k", credentials=credentials)
    for headers in (
        {},
        {"authorization": "Bearer x"},
        {"authorization": "AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=x"},
        {"authorization": "AWS4-HMAC-SHA256 nothing"},
    ):
        storage.ask("GET", "/s3/b/k", who=None, headers=headers)
    content = hashlib.sha256(b"x").hexdigest()
    storage.ask("GET", f"/s3/b/k?X-Amz-Signature={content}", who=None)
