"""PKCE without a server: names of slots, ids of flows, redirects."""

from __future__ import annotations

import base64
import hashlib

import pytest

from isobase.auth.pkce import flow_index, is_flow_id, new_flow, read_verifier, slot_key, with_flow_id

ID = "0123456789abcdef"


def test_a_flow_has_a_verifier_of_its_own_and_its_challenge() -> None:
    first, second = new_flow(), new_flow()
    assert first.flow_id != second.flow_id
    assert first.verifier != second.verifier
    digest = hashlib.sha256(first.verifier.encode()).digest()
    assert first.challenge == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert first.fields == {"code_challenge": first.challenge, "code_challenge_method": "s256"}
    assert first.verifier not in repr(first)


def test_the_recovery_of_a_password_is_remembered_with_the_verifier() -> None:
    flow = new_flow(is_recovery=True)
    assert read_verifier(flow.stored) == (flow.verifier, True)
    assert read_verifier(new_flow().stored)[1] is False
    assert read_verifier("v/recovery") == ("v", True)  # what supabase-js keeps


@pytest.mark.parametrize("value", [None, 7, "", "short", "../../etc/passwd", "a" * 65, "with space 1", "ü" * 10])
def test_what_is_no_flow_id_never_becomes_part_of_a_key(value: object) -> None:
    assert not is_flow_id(value)


def test_keys_of_slots_end_as_other_clients_expect() -> None:
    assert slot_key("sb-key", ID) == f"sb-key-flow-{ID}-code-verifier"


@pytest.mark.parametrize(
    ("text", "index"), [(None, []), ("", []), ("{", []), ("{}", []), (f'["{ID}", 1, "../x"]', [ID])]
)
def test_a_damaged_index_counts_as_far_as_it_can_be_read(text: str | None, index: list[str]) -> None:
    assert flow_index(text) == index


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://app.example/cb", f"https://app.example/cb?sb_flow_id={ID}"),
        ("https://app.example/cb?a=%20b&c", f"https://app.example/cb?a=%20b&c&sb_flow_id={ID}"),
        ("https://app.example/cb?sb_flow_id=old&a=1#top", f"https://app.example/cb?a=1&sb_flow_id={ID}#top"),
        ("myapp://signed-in", f"myapp://signed-in?sb_flow_id={ID}"),
    ],
)
def test_a_flow_id_is_added_to_a_redirect_and_the_rest_keeps_its_bytes(given: str, expected: str) -> None:
    assert with_flow_id(given, ID) == expected
