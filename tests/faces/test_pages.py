"""The pages beside the services: health, readiness, metrics, and the description of the simple face."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx
import pytest

from isobase_platform import __version__
from tests.plugins.stack import Stack

SIMPLE_ROUTES = {
    ("/auth/signup", "post"),
    ("/auth/signin", "post"),
    ("/db", "post"),
    ("/db/{database_id}/tables", "post"),
    ("/db/{database_id}/tables/{table_id}/rows", "post"),
    ("/db/{database_id}/tables/{table_id}/rows", "get"),
    ("/storage/upload", "post"),
    ("/storage/{file_id}", "get"),
}


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url) as opened:
        yield opened


async def test_health_and_readiness_need_no_key(client: httpx.AsyncClient) -> None:
    health = await client.get("/health")
    assert health.status_code == 200
    assert health.json() == {"status": "ok", "version": __version__, "project": "field-notes"}
    ready = await client.get("/ready")
    assert ready.status_code == 200
    assert ready.json() == {"status": "ready", "checks": {"database": "ok", "store": "ok", "bus": "ok"}}


async def test_metrics_count_requests_by_mount_and_never_by_path(client: httpx.AsyncClient, stack: Stack) -> None:
    await client.get("/rest/v1/tags?name=eq.a-value-of-the-test", headers={"apikey": stack.anon_key})
    text = (await client.get("/metrics")).text
    assert 'isobase_http_requests_total{method="GET",mount="/rest/v1",status="200"}' in text
    assert "a-value-of-the-test" not in text
    assert "isobase_database_connections" in text


def references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


async def test_the_description_names_every_simple_route_and_all_its_references_resolve(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": stack.url}]
    operations = {(path, method) for path, item in document["paths"].items() for method in item}
    assert operations >= SIMPLE_ROUTES
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in {"get", "post", "put", "patch", "delete"}:
                assert operation["responses"], f"{method} {path}"
                assert operation["summary"], f"{method} {path}"


async def test_the_page_shows_every_operation_without_any_outside_file(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    for path, _ in SIMPLE_ROUTES:
        assert path in answer.text
    assert "<script" not in answer.text
    assert 'src="http' not in answer.text


async def test_only_what_is_described_answers_on_the_simple_face(client: httpx.AsyncClient) -> None:
    """Each described path knows the method: 401, 400 or 404 of a missing thing, never 404 of a missing route or 405."""
    document = (await client.get("/openapi.json")).json()
    for path, item in document["paths"].items():
        for method in item:
            if method not in {"get", "post", "put", "patch", "delete"}:
                continue
            concrete = path
            for name in ("database_id", "table_id", "row_id", "file_id"):
                concrete = concrete.replace(f"{{{name}}}", "00000000-0000-4000-8000-000000000000")
            answer = await client.request(method.upper(), concrete)
            assert answer.status_code in {400, 401, 415, 422}, f"{method} {path}: {answer.status_code} {answer.text}"
