"""The resumable protocol's decisions, without a server: what is asked next after what came."""

from __future__ import annotations

import httpx
import pytest

from isobase.storage import StorageApiError, TransferError
from isobase.storage._options import file_settings
from isobase.storage._resumable import (
    Answer,
    Ask,
    Event,
    Load,
    Loaded,
    Look,
    Moved,
    Outcome,
    Remember,
    ResumableTarget,
    Wait,
    resumable_upload,
)
from isobase.storage._url import StorageUrl

TARGET = ResumableTarget(StorageUrl("http://here/storage/v1/"), "b", "k", file_settings(None))
BEGUN = Answer(201, {"location": "https://elsewhere/storage/v1/upload/resumable/ID"})
URL = "http://here/storage/v1/upload/resumable/ID"
CUT = httpx.ReadError("cut")


def at(offset: int) -> Answer:
    return Answer(200, {"upload-offset": str(offset), "upload-length": "10"})


def run(*outcomes: Outcome, remembered: str | None = None) -> list[str]:
    """Play answers to what the protocol asks for; gives what it asked, in short."""
    steps = resumable_upload(TARGET, 10, remembered)
    waiting = list(outcomes)
    said: list[str] = []
    outcome: Outcome = None
    while True:
        try:
            event: Event = steps.send(outcome)
        except StopIteration:
            assert not waiting
            return said
        outcome = None
        match event:
            case Load(offset):
                outcome = Loaded(min(offset + 6, 10), 10)
            case Ask():
                said.append(f"{event.method} {event.offset}-{event.end}" if event.end else event.method)
                assert event.url == (URL.removesuffix("/ID") if event.method == "POST" else URL)
                outcome = waiting.pop(0)
            case Look():
                said.append("look")
                outcome = waiting.pop(0)
            case Wait():
                said.append("wait")
            case Remember(url):
                said.append("remember" if url else "forget")
            case Moved():
                pass


def test_a_file_goes_up_piece_by_piece_to_the_address_of_the_client() -> None:
    sent = run(BEGUN, Answer(204, {"upload-offset": "6"}), Answer(204, {"upload-offset": "10"}))
    assert sent == ["POST", "remember", "PATCH 0-6", "PATCH 6-10", "forget"]


def test_after_a_cut_the_server_is_asked_how_far_it_is() -> None:
    sent = run(BEGUN, CUT, at(3), Answer(204, {"upload-offset": "9"}), Answer(204, {"upload-offset": "10"}))
    assert sent == ["POST", "remember", "PATCH 0-6", "wait", "HEAD", "PATCH 3-9", "PATCH 9-10", "forget"]


def test_a_lost_last_answer_is_found_out_by_asking() -> None:
    assert run(BEGUN, Answer(204, {"upload-offset": "6"}), CUT, at(10))[-3:] == ["wait", "HEAD", "forget"]


def test_a_remembered_upload_goes_on_and_a_finished_one_ends() -> None:
    assert run(at(6), Answer(204, {"upload-offset": "10"}), remembered=URL) == ["HEAD", "PATCH 6-10", "forget"]
    assert run(at(10), remembered=URL) == ["HEAD", "forget"]


def test_an_upload_that_is_gone_is_looked_for_and_begun_anew_where_the_object_is_not_there() -> None:
    assert run(Answer(404), True, remembered=URL) == ["HEAD", "forget", "look", "forget"]
    again = run(Answer(410), False, BEGUN, Answer(204), Answer(204, {"upload-offset": "10"}), remembered=URL)
    assert again == ["HEAD", "forget", "look", "POST", "remember", "PATCH 0-6", "PATCH 6-10", "forget"]


def test_a_remembered_upload_of_another_length_is_not_gone_on_with() -> None:
    other = Answer(200, {"upload-offset": "3", "upload-length": "11"})
    assert run(other, False, BEGUN, Answer(204), Answer(204), remembered=URL)[:3] == [
        "HEAD",
        "forget",
        "look",
    ]


def test_a_server_that_is_busy_or_down_is_waited_for() -> None:
    busy = Answer(423, {}, "locked")
    sent = run(Answer(503), BEGUN, busy, Answer(502), at(6), Answer(204, {"upload-offset": "10"}))
    assert sent == [
        "POST",
        "wait",
        "POST",
        "remember",
        "PATCH 0-6",
        "wait",
        "HEAD",
        "wait",
        "HEAD",
        "PATCH 6-10",
        "forget",
    ]


def test_a_wrong_offset_is_mended_and_a_taken_key_is_told() -> None:
    sent = run(BEGUN, Answer(409), at(6), Answer(204, {"upload-offset": "10"}))
    assert sent == ["POST", "remember", "PATCH 0-6", "HEAD", "PATCH 6-10", "forget"]
    with pytest.raises(StorageApiError) as taken:
        run(BEGUN, Answer(409, {}, "exists"), at(0), False)
    assert (taken.value.code, taken.value.message) == ("Duplicate", "exists")


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "Unauthorized"), (413, "Payload too large"), (415, "invalid_mime_type"), (404, "not_found")],
)
def test_a_refusal_has_the_code_of_a_common_uploads(status: int, code: str) -> None:
    with pytest.raises(StorageApiError) as refused:
        run(Answer(status, {}, "no"))
    assert (refused.value.code, refused.value.http_status) == (code, status)


def test_a_token_that_does_not_verify_is_told_as_everywhere() -> None:
    text = '{"statusCode":"403","error":"Unauthorized","message":"exp","code":"AccessDenied"}'
    with pytest.raises(StorageApiError) as refused:
        run(Answer(400, {}, text))
    assert (refused.value.code, refused.value.error_code) == ("Unauthorized", "AccessDenied")


def test_a_server_that_loses_the_upload_again_and_again_is_given_up() -> None:
    lost = (Answer(404), False, BEGUN)
    with pytest.raises(TransferError, match="again and again"):
        run(BEGUN, *lost, *lost, *lost, Answer(404))


def test_a_server_without_the_protocol_is_told() -> None:
    with pytest.raises(TransferError, match="location"):
        run(Answer(201))


@pytest.mark.parametrize("offset", ["7", "-1", "x", "", "99999999999999999999"])
def test_a_server_that_claims_bytes_which_nobody_sent_is_not_believed(offset: str) -> None:
    with pytest.raises(TransferError, match="The server says"):
        run(BEGUN, Answer(204, {"upload-offset": offset}))


def test_a_server_that_claims_more_than_the_file_has_is_not_believed() -> None:
    with pytest.raises(TransferError, match="The server says '11'"):
        run(Answer(200, {"upload-offset": "11"}), remembered=URL)


def test_a_remembered_address_elsewhere_gets_no_token() -> None:
    assert run(at(10), remembered="https://elsewhere/upload/resumable/ID?x=y") == ["HEAD", "forget"]
