"""What the requests of the official client are."""

from __future__ import annotations

import base64

import pytest

from isobase_adapter.http.classify import FamilyName, classify

CALLS = [
    ("GET", "rest/v1/orders", {}, "table:public.orders", True, "rows"),
    ("GET", "rest/v1/stock", {"accept-profile": "shop"}, "table:shop.stock", True, "rows"),
    ("POST", "rest/v1/stock", {"content-profile": "shop"}, "table:shop.stock", False, "rows"),
    ("POST", "rest/v1/stock", {"accept-profile": "shop"}, "table:public.stock", False, "rows"),
    ("PATCH", "rest/v1/two%20words", {}, "table:public.two words", False, "rows"),
    ("DELETE", "rest/v1/orders", {}, "table:public.orders", False, "rows"),
    ("PUT", "rest/v1/orders", {}, "table:public.orders", False, "rows"),
    ("OPTIONS", "rest/v1/orders", {}, "table:public.orders", True, "rows"),
    ("GET", "rest/v1/", {}, "table:public.*", True, "root"),
    ("POST", "rest/v1/rpc/total", {}, "rpc:public.total", False, "rpc"),
    ("GET", "rest/v1/rpc/total", {"accept-profile": "shop"}, "rpc:shop.total", True, "rpc"),
    ("HEAD", "rest/v1/rpc/total", {}, "rpc:public.total", True, "rpc"),
    ("POST", "auth/v1/token", {}, "auth", False, "token"),
    ("GET", "auth/v1/user", {}, "auth", True, "user"),
    ("POST", "functions/v1/hello", {}, "functions", False, "hello"),
    ("POST", "realtime/v1/api/broadcast", {}, "realtime", False, "api/broadcast"),
    ("GET", "storage/v1/bucket", {}, "bucket:*", True, "bucket"),
    ("PUT", "storage/v1/bucket/avatars", {}, "bucket:avatars", False, "bucket"),
    ("POST", "storage/v1/bucket/avatars/empty", {}, "bucket:avatars", False, "bucket"),
    ("POST", "storage/v1/object/avatars/a/b.png", {}, "bucket:avatars", False, "object"),
    ("DELETE", "storage/v1/object/avatars", {}, "bucket:avatars", False, "object"),
    ("GET", "storage/v1/object/avatars/a.png", {}, "bucket:avatars", True, "object"),
    ("GET", "storage/v1/object/authenticated/avatars/a.png", {}, "bucket:avatars", True, "object"),
    ("GET", "storage/v1/object/public/avatars/a.png", {}, "bucket:avatars", True, "object"),
    ("POST", "storage/v1/object/sign/avatars/a.png", {}, "bucket:avatars", True, "sign"),
    ("GET", "storage/v1/object/sign/avatars/a.png", {}, "bucket:avatars", True, "sign"),
    ("POST", "storage/v1/object/sign/avatars", {}, "bucket:avatars", True, "sign"),
    ("POST", "storage/v1/object/upload/sign/avatars/a.png", {}, "bucket:avatars", True, "upload_sign"),
    ("PUT", "storage/v1/object/upload/sign/avatars/a.png", {}, "bucket:avatars", False, "upload_sign"),
    ("POST", "storage/v1/object/list/avatars", {}, "bucket:avatars", True, "list"),
    ("POST", "storage/v1/object/list-v2/avatars", {}, "bucket:avatars", True, "list"),
    ("POST", "storage/v1/object/move", {}, "bucket:*", False, "move"),
    ("POST", "storage/v1/object/copy", {}, "bucket:*", False, "copy"),
    ("GET", "storage/v1/object/info/avatars/a.png", {}, "bucket:avatars", True, "info"),
    ("HEAD", "storage/v1/object/info/public/avatars/a.png", {}, "bucket:avatars", True, "info"),
    ("GET", "storage/v1/render/image/sign/avatars/a.png", {}, "bucket:avatars", True, "render"),
    ("PUT", "storage/v1/s3/avatars/a.png", {}, "bucket:avatars", False, "s3"),
    ("GET", "storage/v1/s3", {}, "bucket:*", True, "s3"),
    ("DELETE", "storage/v1/cdn/avatars/a.png", {}, "bucket:avatars", False, "cdn"),
    ("POST", "storage/v1/vector/CreateIndex", {}, "bucket:*", False, "vector"),
    ("POST", "graphql/v1", {}, "table:*", False, ""),
]


@pytest.mark.parametrize("method, path, headers, capability, is_read, operation", CALLS)
def test_a_request_is_known_by_method_path_and_profile(
    method: str, path: str, headers: dict[str, str], capability: str, is_read: bool, operation: str
) -> None:
    call = classify(method, path, headers)
    assert (str(call.capability), call.is_read, call.operation) == (capability, is_read, operation)


def test_an_object_is_named_without_its_bucket() -> None:
    call = classify("POST", "storage/v1/object/avatars/a%20b/c%2Fd.png", {})
    assert (call.family, call.object_name) == (FamilyName.STORAGE, "a b/c/d.png")


def test_a_resumable_upload_is_known_by_its_metadata_and_then_by_its_id() -> None:
    metadata = ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}"
        for key, value in {"bucketName": "papers", "objectName": "x/y.pdf"}.items()
    )
    begun = classify("POST", "storage/v1/upload/resumable", {"upload-metadata": metadata})
    upload = base64.urlsafe_b64encode(b"papers/x/y.pdf/some-version").decode().rstrip("=")
    continued = classify("PATCH", f"storage/v1/upload/resumable/{upload}", {})
    for call in (begun, continued):
        assert (str(call.capability), call.object_name, call.is_read) == ("bucket:papers", "x/y.pdf", False)
    assert str(classify("HEAD", "storage/v1/upload/resumable/%%%", {}).capability) == "bucket:*"
