"""The auth pages name every error code and every route."""

from __future__ import annotations

from pathlib import Path

from isobase_services.auth.errors import ErrorCode
from isobase_services.auth.v1 import ROUTES

PAGE = "".join(page.read_text() for page in sorted((Path(__file__).parents[2] / "docs").glob("auth*.md")))


def test_every_error_code_is_documented() -> None:
    assert [code.value for code in ErrorCode if f"`{code.value}`" not in PAGE] == []


def test_every_route_is_documented() -> None:
    last_segments = {route.path.rpartition("/")[2].replace("{user_id}", "{id}") for route in ROUTES}
    assert [segment for segment in last_segments if segment not in PAGE] == []
