"""``application/geo+json``: rows as a FeatureCollection, where PostGIS is installed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.database.rest.conftest import DATABASE_NAME, RELOAD_TIMEOUT_S, Api, refusal

GEOJSON = {"accept": "application/geo+json"}
PLACES = """
create extension postgis schema extensions;
create table public.places (id int primary key, name text, spot extensions.geometry(Point, 4326));
insert into public.places values (1, 'here', 'SRID=4326;POINT(1 2)'), (2, 'there', 'SRID=4326;POINT(3 4)');
grant select on public.places to anon, authenticated, service_role;
notify pgrst;
"""


def has_postgis(api: Api) -> bool:
    return bool(api.rows("select 1 from pg_available_extensions where name = 'postgis'"))


@pytest.fixture
def places(api: Api) -> Iterator[Api]:
    if not has_postgis(api):
        pytest.skip("the server has no PostGIS (the embedded PostgreSQL comes without it)")
    api.database.execute(PLACES, database=DATABASE_NAME)
    deadline_s = time.monotonic() + RELOAD_TIMEOUT_S
    while api.get("/places").status_code != 200 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    yield api
    api.database.execute("drop table public.places; drop extension postgis cascade", database=DATABASE_NAME)


def test_rows_are_the_features_of_a_collection(places: Api) -> None:
    answer = places.get("/places?id=eq.1", headers=GEOJSON)
    assert answer.headers["content-type"] == "application/geo+json; charset=utf-8"
    point = {"type": "Point", "coordinates": [1, 2]}
    feature = {"type": "Feature", "geometry": point, "properties": {"id": 1, "name": "here"}}
    assert answer.json() == {"type": "FeatureCollection", "features": [feature]}


def test_no_rows_are_an_empty_collection(places: Api) -> None:
    answer = places.get("/places?id=eq.9", headers=GEOJSON)
    assert answer.json() == {"type": "FeatureCollection", "features": []}


def test_without_postgis_there_is_no_such_function(api: Api) -> None:
    if has_postgis(api):
        pytest.skip("the server has PostGIS")
    answer = api.get("/people", headers=GEOJSON)
    assert refusal(answer) == (404, "42883")
    assert "st_asgeojson" in answer.json()["message"]
