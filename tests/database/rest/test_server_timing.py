"""``Server-Timing``: where the setting allows it, every answer tells how long its stages took."""

from __future__ import annotations

import re

import pytest

from isobase_services.database.rest.timing import Stopwatch
from tests.database.rest.conftest import Api

STAGES = ["jwt", "parse", "plan", "transaction", "response"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/people?id=eq.1", None),
        ("HEAD", "/people", None),
        ("POST", "/people", {"id": 9, "name": "Ida"}),
        ("PATCH", "/people?id=eq.1", {"name": "Ida"}),
        ("PUT", "/people?id=eq.9", {"id": 9, "name": "Ida"}),
        ("DELETE", "/tasks", None),
        ("POST", "/rpc/motto", {}),
        ("GET", "/", None),
        ("OPTIONS", "/people", None),
    ],
)
def test_every_answer_tells_its_stages_in_milliseconds(open_api: Api, method: str, path: str, body: object) -> None:
    answer = open_api.call(method, path, json=body)
    assert answer.is_success
    (told,) = answer.headers.get_list("server-timing")
    assert [part.partition(";")[0] for part in told.split(", ")] == STAGES
    assert re.fullmatch(r"(\w+;dur=\d+\.\d(, |$)){5}", told)


def test_nothing_is_told_by_default_nor_with_an_error(api: Api, open_api: Api) -> None:
    assert "server-timing" not in api.get("/people").headers
    assert "server-timing" not in open_api.get("/nothing").headers


def test_stages_that_come_in_parts_are_summed_and_waiting_belongs_to_none() -> None:
    stopwatch = Stopwatch()
    stopwatch.mark("plan")
    stopwatch.skip()
    stopwatch.mark("plan")
    assert [part.partition("=")[0] for part in stopwatch.header.split(", ")] == [f"{stage};dur" for stage in STAGES]
