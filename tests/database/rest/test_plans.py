"""Plans that are kept: a request of a known shape is answered as if it were planned anew, whatever its operands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import httpx
import pytest

from isobase_platform.config import Settings
from isobase_platform.http.errors import ErrorBoundary
from isobase_platform.runtime import Platform
from isobase_services.database.cache_keeper import CacheKeeper
from isobase_services.database.rest.app import RestApp
from isobase_services.database.rest.errors import render_error
from isobase_services.database.rest.prepared import MAX_PLANS
from isobase_services.database.rest.shape import MAX_SHAPE_CHARS
from tests.database.rest.conftest import Api

JSON = {"content-type": "application/json"}


@dataclass(slots=True, frozen=True)
class Served:
    """The data API in this process; ``fresh`` gives one that has kept nothing yet."""

    platform: Platform
    keeper: CacheKeeper
    token: str

    def fresh(self) -> RestApp:
        """A new app over the same schema cache."""
        return RestApp(self.platform, self.keeper, "http://localhost")

    async def ask(
        self, app: RestApp, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body of an answer."""
        transport = httpx.ASGITransport(ErrorBoundary(app, render_error))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            sent = {"authorization": f"Bearer {self.token}", "prefer": "tx=rollback", **(headers or {})}
            answer = await client.request(method, path, content=body, headers=sent)
        return answer.status_code, sorted(answer.headers.items()), answer.content


@pytest.fixture
async def served(api: Api, rest_settings: Settings) -> AsyncIterator[Served]:
    async with Platform.open(rest_settings) as platform:
        keeper = CacheKeeper(platform)
        await keeper.start()
        yield Served(platform, keeper, rest_settings.service_role_token)
        await keeper.stop()


@pytest.mark.parametrize(
    "paths",
    [
        ["/notes?id=eq.1", "/notes?id=eq.2", "/notes?id=eq.77", "/notes?id=eq.1%20"],
        ["/notes?title=like.f*", "/notes?title=like.*d", "/notes?title=like.first", "/notes?title=like.%25"],
        ["/notes?id=in.(1,2)", "/notes?id=in.(3)", "/notes?id=in.()", "/notes?id=in.(%201,3)"],
        ["/notes?title=in.(first,a)", "/notes?title=in.(b\\,second)", "/notes?title=in.({},first)"],
        ["/notes?title=not.in.(first)", "/notes?title=not.in.(second,third)"],
        ["/notes?tags=cs.{y}", "/notes?tags=cs.{x,y}", "/notes?tags=cs.{}"],
        ["/notes?title=fts.first", "/notes?title=fts.second|third", "/notes?title=fts.'"],
        ["/notes?title=fts(english).first", "/notes?title=fts(english).thirds"],
        ["/notes?meta->a->>b=eq.1", "/notes?meta->a->>b=eq.2", "/notes?meta->a->>b=eq."],
        ["/notes?size=not.gt.5", "/notes?size=not.gt.8", "/notes?size=not.gt.x"],
        ["/notes?order=id&limit=1&offset=1", "/notes?order=id&limit=1&offset=2", "/notes?order=id&limit=1&offset=9"],
        ["/notes?select=id&size=eq.5&title=eq.first", "/notes?select=id&size=eq.9&title=eq.third"],
        ["/tasks?select=name,teams(name)&teams.name=eq.Red", "/tasks?select=name,teams(name)&teams.name=eq.Blue"],
        [
            "/teams?select=name,tasks!inner(name)&tasks.name=eq.dig",
            "/teams?select=name,tasks!inner(name)&tasks.name=eq.no",
        ],
        ["/rpc/add?a=1&b=2", "/rpc/add?a=5&b=6", "/rpc/add?a=5&b=x"],
        ["/rpc/total?numbers=1&numbers=2", "/rpc/total?numbers=30&numbers=40"],
        ["/notes?title=eq.a%26b", "/notes?title=eq.a+b", "/notes?title=eq.%C3%BC"],
    ],
    ids=lambda paths: paths[0],
)
async def test_requests_of_one_shape_share_a_plan_and_not_their_operands(served: Served, paths: Sequence[str]) -> None:
    warm = served.fresh()
    for path in paths:
        assert await served.ask(warm, "GET", path) == await served.ask(served.fresh(), "GET", path), path
    assert warm.kept_plans == 1


@pytest.mark.parametrize(
    ("method", "path", "bodies"),
    [
        ("POST", "/notes?select=title,size", [b'{"title":"a","size":1}', b'{"title":"b","size":2}']),
        ("POST", "/notes?select=title", [b'[{"title":"a"},{"title":"b"}]', b'[{"title":"c"}]']),
        ("PATCH", "/notes?id=eq.1&select=title", [b'{"title":"a"}', b'{"title":"b"}']),
        ("PUT", "/teams?id=eq.9&select=name", [b'{"id":9,"name":"a"}', b'{"id":9,"name":"b"}']),
        ("POST", "/rpc/add", [b'{"a":1,"b":2}', b'{"a":3,"b":4}']),
        ("DELETE", "/tasks?id=eq.1&select=name", [b"", b""]),
    ],
)
async def test_writes_of_one_shape_share_a_plan_and_not_their_bodies(
    served: Served, method: str, path: str, bodies: Sequence[bytes]
) -> None:
    warm = served.fresh()
    headers = {**JSON, "prefer": "return=representation, tx=rollback"}
    for body in bodies:
        expected = await served.ask(served.fresh(), method, path, body, headers)
        assert await served.ask(warm, method, path, body, headers) == expected
        assert expected[0] in {200, 201}, expected
    assert warm.kept_plans == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/notes?id=is.null", "/notes?id=is.not_null"),
        ("/notes?id=eq.1", "/notes?id=neq.1"),
        ("/notes?id=eq.1", "/notes?id=not.eq.1"),
        ("/notes?select=id", "/notes?select=title"),
        ("/notes?limit=1&order=id", "/notes?limit=2&order=id"),
        ("/notes?order=id.asc", "/notes?order=id.desc"),
        ("/notes?or=(id.eq.1,id.eq.2)", "/notes?or=(id.eq.1,id.eq.3)"),
        ("/notes?id=eq(any).{1,2}", "/notes?id=eq(any).{3}"),
        ("/rpc/over?a=1", "/rpc/over?a=1&b=2"),
        ("/notes?id=eq.1&size=eq.5", "/notes?size=eq.5&id=eq.3"),
        ("/notes?order=id&offset=1", "/notes?order=id&offset="),
        ("/notes?id=gt.0&order=id&offset=1", "/notes?id=gt.0&order=id&offset="),
        ("/notes?id=gt.0&order=id&offset=", "/notes?id=gt.0&order=id&offset=1"),
        ("/rpc/add?a=1", "/rpc/add?a=eq.1"),
    ],
)
async def test_requests_of_different_shapes_do_not_share_a_plan(served: Served, first: str, second: str) -> None:
    warm = served.fresh()
    await served.ask(warm, "GET", first)
    assert await served.ask(warm, "GET", second) == await served.ask(served.fresh(), "GET", second)


@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "text/csv"},
        {"accept": "application/vnd.pgrst.object+json"},
        {"prefer": "count=exact, tx=rollback"},
        {"range": "0-0"},
        {"range": "1-1"},
    ],
    ids=str,
)
async def test_headers_that_shape_the_answer_are_part_of_the_shape(served: Served, headers: dict[str, str]) -> None:
    warm = served.fresh()
    path = "/notes?id=gt.0&order=id"
    await served.ask(warm, "GET", path)
    expected = await served.ask(served.fresh(), "GET", path, headers=headers)
    assert await served.ask(warm, "GET", path, headers=headers) == expected


async def test_an_operand_never_reaches_the_plan_of_another_request(served: Served) -> None:
    warm = served.fresh()
    for path in ("/notes?title=eq.first", "/notes?title=eq.'", '/notes?title=eq."', "/notes?title=eq.%24%241"):
        assert await served.ask(warm, "GET", path) == await served.ask(served.fresh(), "GET", path)
    assert warm.kept_plans == 1


async def test_kept_plans_stay_bounded_and_the_newest_shape_works(served: Served) -> None:
    warm = served.fresh()
    for number in range(MAX_PLANS + 20):
        status, _, body = await served.ask(warm, "GET", f"/teams?select=n{number}:name&id=eq.1")
        assert (status, body) == (200, f'[{{"n{number}":"Red"}}]'.encode())
    assert warm.kept_plans == MAX_PLANS


async def test_plans_with_long_headers_or_paths_are_not_kept(served: Served) -> None:
    warm = served.fresh()
    long = "x" * MAX_SHAPE_CHARS
    for headers in ({"prefer": long}, {"accept": f"*/*, {long}"}):
        status, _, _ = await served.ask(warm, "GET", "/teams?id=eq.1", headers=headers)
        assert status == 200
    status, _, _ = await served.ask(warm, "POST", f"/{long}", b"{}", headers=JSON)
    assert status == 404
    assert warm.kept_plans == 0


async def test_only_ascii_digits_make_an_offset(served: Served) -> None:
    """Python takes digits of any script for a number; PostgreSQL, which gets the text, does not."""
    warm = served.fresh()
    for _ in range(2):
        status, _, body = await served.ask(warm, "GET", "/teams?select=id&order=id&offset=1%D9%A3")
        assert (status, body) == (200, b'[{"id":1}, \n {"id":2}]')
