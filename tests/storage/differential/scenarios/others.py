"""What is around: status, health, unknown routes, CDN, Iceberg and vectors."""

from __future__ import annotations

from tests.storage.differential.asking import Asking
from tests.storage.differential.scenarios.registry import scenario

WHO = (None, "empty", "garbage", "expired", "anon", "alice", "service")
CDN = (
    "/cdn",
    "/cdn/b",
    "/cdn/b/x.txt",
    "/cdn/none/x",
    "/cdn/b/x.txt?transformations=true",
    "/cdn/b?transformations=x",
)


@scenario
def status_and_unknown_routes(storage: Asking) -> None:
    for method, target in (
        ("GET", "/status"),
        ("HEAD", "/status"),
        ("POST", "/status"),
        ("GET", "/status/"),
        ("GET", "/nothing"),
        ("POST", "/nothing"),
        ("GET", "/"),
        ("GET", "/object"),
        ("GET", "/object/"),
        ("GET", "/object/public"),
        ("GET", "/object/public/b"),
        ("GET", "/object/sign"),
        ("GET", "/object/info"),
        ("POST", "/object/list"),
        ("POST", "/object/sign"),
        ("GET", "/object/move"),
        ("PUT", "/object/copy"),
        ("GET", "//bucket"),
        ("GET", "/BUCKET"),
        ("GET", "/bucket//x"),
        ("GET", "/render"),
        ("GET", "/render/image"),
        ("GET", "/render/image/public/b"),
        ("GET", "/upload"),
        ("PATCH", "/bucket"),
        ("DELETE", "/bucket"),
        ("PUT", "/bucket"),
        ("POST", "/bucket/x/nothing"),
    ):
        storage.ask(method, target, who="service", rows=False)
        storage.ask(method, target, who=None, rows=False)


@scenario
def health(storage: Asking) -> None:
    for who in WHO:
        storage.ask("GET", "/health", who=who)


@scenario
def purge_the_cdn(storage: Asking) -> None:
    storage.bucket("b")
    for who in WHO:
        for path in CDN:
            storage.ask("DELETE", path, who=who, rows=False)


@scenario
def iceberg_and_vectors(storage: Asking) -> None:
    for who in (None, "garbage", "anon", "service"):
        storage.ask("GET", "/iceberg/bucket", who=who)
        storage.ask("POST", "/iceberg/bucket", {"name": "x"}, who=who)
        storage.ask("DELETE", "/iceberg/bucket/x", who=who)
        storage.ask("GET", "/iceberg/v1/config", who=who)
        storage.ask("GET", "/iceberg/v1/x/namespaces", who=who)
        storage.ask("POST", "/vector/ListVectorBuckets", {}, who=who)
        storage.ask("POST", "/vector/CreateVectorBucket", {"vectorBucketName": "x"}, who=who)
        storage.ask("POST", "/vector/QueryVectors", {}, who=who)
        storage.ask("GET", "/vector/nothing", who=who)
