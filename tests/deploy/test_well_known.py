"""``/.well-known/isobase``: clients ask once what they may expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from isobase_deploy.well_known import WELL_KNOWN_PATH, well_known_page
from isobase_platform import __version__
from isobase_platform.config import Settings
from isobase_platform.runtime import Platform
from isobase_platform.service import Mount
from isobase_services.database.service import DatabaseService


@dataclass(slots=True, frozen=True)
class Named:
    """A service of which only the features count."""

    name: str
    features: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()

    @property
    def openapi(self) -> Mapping[str, Any]:
        return {}

    async def start(self) -> None:
        return None

    async def drain(self, timeout_s: float) -> None:
        return None


def client(*features: tuple[str, ...]) -> httpx.AsyncClient:
    pages = well_known_page([Named(str(place), one) for place, one in enumerate(features)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=pages[WELL_KNOWN_PATH]), base_url="http://isobase")


async def test_the_page_names_the_features_of_all_services_once_in_order() -> None:
    async with client(("rooms", "b"), (), ("a", "b")) as http:
        answer = await http.get(WELL_KNOWN_PATH)
    assert answer.json() == {"name": "isobase", "version": __version__, "features": ["a", "b", "rooms"]}


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("OPTIONS", 204), ("POST", 405)])
async def test_other_methods_are_answered_as_http_has_them(method: str, status: int) -> None:
    async with client() as http:
        answer = await http.request(method, WELL_KNOWN_PATH)
    assert answer.status_code == status
    if method != "HEAD":
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_a_server_that_keeps_no_answers_does_not_say_that_it_does(database: Settings) -> None:
    rest = database.rest.model_copy(update={"idempotency_key_life_s": 0})
    async with Platform.open(database.model_copy(update={"rest": rest})) as platform:
        assert DatabaseService(platform).features == ("databases",)
    async with Platform.open(database) as platform:
        assert DatabaseService(platform).features == ("databases", "idempotency-key")
