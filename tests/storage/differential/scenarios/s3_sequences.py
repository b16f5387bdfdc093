"""The S3 protocol in longer sequences: pages, uploads in parts with mistakes, conditions, many deletes, copies."""

from __future__ import annotations

from tests.storage.differential.asking import Asking
from tests.storage.differential.scenarios.registry import scenario
from tests.storage.differential.scenarios.s3_protocol import ask, completion, upload_id

XML = "application/xml"
KEYS = ("a/1", "a/2", "a/b/3", "b", "c/4", "c%2B%2B/5", "d", "%26amp", "e%20f", "z/")


@scenario
def s3_pages(storage: Asking) -> None:
    storage.bucket("b")
    for key in KEYS:
        ask(storage, "PUT", f"/b/{key}", b"x")
    for version in ("list-type=2&", ""):
        for prefix in ("", "a", "a/", "a%2F", "c", "z", "e%20", "%26", "nothing"):
            for delimiter in ("", "delimiter=%2F&"):
                ask(storage, "GET", f"/b?{version}{delimiter}prefix={prefix}")
        for count in ("1", "2", "3"):
            for after in ("a%2F", "a%2F1", "b", "zz"):
                name = "start-after" if version else "marker"
                ask(storage, "GET", f"/b?{version}delimiter=%2F&max-keys={count}&{name}={after}")
        ask(storage, "GET", f"/b?{version}encoding-type=url&delimiter=%2F")
        ask(storage, "GET", f"/b?{version}encoding-type=x")
        ask(storage, "GET", f"/b?{version}delimiter=b")
    ask(storage, "GET", "/b?list-type=2&delimiter=%2F", x_amz_optional_object_attributes="RestoreStatus")


@scenario
def s3_parts_with_mistakes(storage: Asking) -> None:
    storage.bucket("b")
    storage.bucket("small", file_size_limit=20, allowed_mime_types=["image/png"])
    upload = upload_id(ask(storage, "POST", "/b/k.bin?uploads"))
    base = f"/b/k.bin?uploadId={upload}"
    ask(storage, "POST", base, completion((1, '"none"')), content_type=XML)
    etags = [
        ask(storage, "PUT", f"/b/k.bin?partNumber={number}&uploadId={upload}", b"%d" % number * 9).headers.get(
            "etag", ""
        )
        for number in (3, 1, 1)
    ]
    for parts in (
        ((3, etags[0]), (1, etags[2])),
        ((1, etags[2]), (1, etags[2])),
        ((1, etags[2]), (2, etags[0])),
        ((0, etags[2]),),
        ((10001, etags[2]),),
    ):
        ask(storage, "POST", base, completion(*parts), content_type=XML)
    for body in (b"<x/>", b"<CompleteMultipartUpload/>", b"{}", b"x"):
        ask(storage, "POST", base, body, content_type=XML)
    ask(storage, "POST", base, b"", content_type="application/json")
    ask(storage, "PUT", f"/b/other.bin?partNumber=1&uploadId={upload}", b"x")
    ask(storage, "GET", f"/b/other.bin?uploadId={upload}")
    ask(storage, "DELETE", f"/b/other.bin?uploadId={upload}")
    ask(storage, "POST", f"/b/other.bin?uploadId={upload}", completion((1, etags[2])), content_type=XML)
    ask(storage, "POST", base, completion((1, etags[2]), (3, etags[0])), content_type=XML)
    ask(storage, "HEAD", "/b/k.bin")
    source = "/b/k.bin"
    copied = upload_id(ask(storage, "POST", "/b/copied.bin?uploads"))
    place = f"/b/copied.bin?uploadId={copied}"
    for spans in ("bytes=0-4", "bytes=5-99", "bytes=x", "0-4", "bytes=4-0", "bytes=-4"):
        more = {"x-amz-copy-source-range": spans}
        ask(storage, "PUT", f"{place}&partNumber=1", x_amz_copy_source=source, more=more)
    ask(storage, "PUT", f"{place}&partNumber=2", x_amz_copy_source="/b/none")
    ask(storage, "PUT", f"{place}&partNumber=2", x_amz_copy_source="/none/k.bin")
    ask(storage, "DELETE", place)
    for more in ({"content-type": "text/plain"}, {"content-type": "image/png"}):
        ask(storage, "POST", "/small/k?uploads", more=more)
    for marker in ("max-uploads=1", "prefix=k", "delimiter=%2F", "key-marker=k", "max-uploads=0", "max-uploads=x"):
        ask(storage, "GET", f"/b?uploads&{marker}")


@scenario
def s3_writes_with_conditions(storage: Asking) -> None:
    storage.bucket("b")
    for key in ("new.txt", "new.txt"):
        ask(storage, "PUT", f"/b/{key}", b"x", if_none_match="*")
    ask(storage, "PUT", "/b/md5.txt", b"x", content_md5="wrong")
    ask(storage, "PUT", "/b/md5.txt", b"x", content_md5="nd1lWa7cm2Mp09fn2IcCQA==")
    ask(storage, "PUT", "/b/class.txt", b"x", x_amz_storage_class="GLACIER")
    ask(storage, "PUT", "/b/expires.txt", b"x", expires="Wed, 21 Oct 2037 07:28:00 GMT", content_encoding="gzip")
    ask(storage, "GET", "/b/expires.txt")
    for spans in ("bytes=0-0", "bytes=0-", "bytes=-1", "bytes=1-0", "bytes=0-0,1-1", "bytes=5-", "items=0-1"):
        ask(storage, "GET", "/b/new.txt", range=spans)


@scenario
def s3_deletes(storage: Asking) -> None:
    storage.bucket("b")
    for key in ("a", "b%20c", "d/e", "%26", "f"):
        ask(storage, "PUT", f"/b/{key}", b"x")
    for body in (
        b"<Delete><Object><Key>a</Key></Object><Object><Key>a</Key></Object></Delete>",
        b"<Delete><Quiet>true</Quiet><Object><Key>b c</Key></Object><Object><Key>none</Key></Object></Delete>",
        b"<Delete><Object><Key>&amp;</Key></Object><Object><Key>d/e</Key></Object></Delete>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b"<Delete><Object></Object></Delete>",
        b"<Delete></Delete>",
        b"<Other/>",
        b"",
        b"<Delete>" + b"<Object><Key>x</Key></Object>" * 1001 + b"</Delete>",
    ):
        ask(storage, "POST", "/b?delete", body, content_type=XML)
    ask(storage, "POST", "/none?delete", b"<Delete><Object><Key>a</Key></Object></Delete>", content_type=XML)
    ask(storage, "DELETE", "/b/f")
    ask(storage, "DELETE", "/b/d/")


@scenario
def s3_copies(storage: Asking) -> None:
    storage.bucket("b")
    storage.bucket("pictures", allowed_mime_types=["image/png"])
    ask(storage, "PUT", "/b/k.txt", b"x", content_type="text/plain", x_amz_meta_a="1", cache_control="max-age=9")
    more: dict[str, str]
    for number, more in enumerate(
        (
            {"x-amz-metadata-directive": "COPY", "content-type": "text/css", "x-amz-meta-b": "2"},
            {"x-amz-metadata-directive": "REPLACE"},
            {"x-amz-metadata-directive": "REPLACE", "x-amz-meta-b": "2"},
            {"x-amz-metadata-directive": "REPLACE", "cache-control": "no-store"},
            {"x-amz-metadata-directive": "OTHER"},
            {"content-type": "text/css"},
        )
    ):
        ask(storage, "PUT", f"/b/copied-{number}", x_amz_copy_source="/b/k.txt", more=more)
        ask(storage, "HEAD", f"/b/copied-{number}")
    ask(storage, "PUT", "/b/k.txt", x_amz_copy_source="/b/k.txt")
    replace = {"x-amz-metadata-directive": "REPLACE", "content-type": "text/html"}
    ask(storage, "PUT", "/b/k.txt", x_amz_copy_source="/b/k.txt", more=replace)
    ask(storage, "HEAD", "/b/k.txt")
    ask(storage, "PUT", "/pictures/k.txt", x_amz_copy_source="/b/k.txt")
    ask(storage, "PUT", "/none/k.txt", x_amz_copy_source="/b/k.txt")
    for source in ("/b/", "/b", "", "/", "b", "%2Fb%2Fk.txt", "/b/%zz", "/b/../k.txt", "/b/k.txt?versionId=1"):
        ask(storage, "PUT", "/b/odd.txt", x_amz_copy_source=source)
