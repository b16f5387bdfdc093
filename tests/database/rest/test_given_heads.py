"""Status and headers that functions set or raise: the answer stays one that can be sent, whatever they say."""

from __future__ import annotations

import pytest

from tests.database.rest.conftest import Api, refusal

ANSWER = '"é"'.encode()


def call(api: Api, **given: str) -> tuple[int, bytes, str | None]:
    """Status, body and length of the answer."""
    answer = api.http.post("/rpc/with_head", json=given, headers=api.alice)
    return answer.status_code, answer.content, answer.headers.get("content-length")


@pytest.mark.parametrize(
    "headers",
    [
        '[{"a b":"c"}]',
        '[{"":"c"}]',
        '[{"a:b":"c"}]',
        '[{"a":"b\\r\\nc: d"}]',
        '[{"a":"\\u0007"}]',
        '[{"a":"\\ud800"}]',
        '[{"a\\ud800":"b"}]',
    ],
)
def test_what_is_no_header_is_refused(api: Api, headers: str) -> None:
    answer = api.http.post("/rpc/with_head", json={"headers": headers}, headers=api.alice)
    assert refusal(answer) == (500, "PGRST111")


@pytest.mark.parametrize("header", ['"content-length":"1"', '"content-length":"99"', '"Transfer-Encoding":"chunked"'])
def test_where_the_answer_ends_is_not_for_functions_to_say(api: Api, header: str) -> None:
    assert call(api, headers=f"[{{{header}}}]") == (200, ANSWER, str(len(ANSWER)))


@pytest.mark.parametrize("status", ["204", "304"])
def test_statuses_without_a_body_have_none(api: Api, status: str) -> None:
    assert call(api, status=status, headers='[{"content-length":"5"}]') == (int(status), b"", None)
    assert call(api, code=f"PT{status}") == (int(status), b"", None)
    assert call(api) == (200, ANSWER, str(len(ANSWER)))


@pytest.mark.parametrize("status", ["101", "199", "600", "999", "02001", "9" * 5000])
def test_what_is_no_status_is_refused(api: Api, status: str) -> None:
    answer = api.http.post("/rpc/with_head", json={"status": status}, headers=api.alice)
    assert refusal(answer) == (500, "PGRST112")


@pytest.mark.parametrize("code", ["PT101", "PT999"])
def test_a_raised_status_that_is_none_is_500(api: Api, code: str) -> None:
    assert call(api, code=code)[0] == 500


@pytest.mark.parametrize(
    "detail",
    [
        '{"status":1e999,"headers":{}}',
        '{"status":101,"headers":{}}',
        '{"status":999,"headers":{}}',
        '{"status":400,"headers":{"a b":"c"}}',
        '{"status":400,"headers":{"a":"\\u0000"}}',
        '{"status":400,"headers":{"a\\ud800":"b"}}',
    ],
)
def test_a_raised_answer_that_cannot_be_sent_is_refused(api: Api, detail: str) -> None:
    given = {"code": "PGRST", "detail": detail}
    answer = api.http.post("/rpc/with_head", json=given, headers=api.alice)
    assert refusal(answer) == (500, "PGRST121")


def test_headers_in_another_encoding_are_refused(api: Api) -> None:
    given = {"headers": '[{"a":"é"}]', "encoding": "LATIN1"}
    answer = api.http.post("/rpc/with_head", json=given, headers=api.alice)
    assert refusal(answer) == (500, "PGRST111")
