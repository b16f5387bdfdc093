"""Whatever is logged, secrets do not reach the output."""

from __future__ import annotations

import json
import logging

import pytest

from isobase_platform.observe import configure_logging, mask_secrets

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "text",
    [f"bearer {TOKEN}", "key sb_secret_abcDEF_1", "postgresql://postgres:hunter2@127.0.0.1/x"],
    ids=["jwt", "api-key", "url"],
)
def test_text_that_looks_like_a_secret_is_masked(text: str) -> None:
    masked = mask_secrets(text)
    assert "[hidden]" in masked
    assert not any(secret in masked for secret in (TOKEN, "abcDEF", "hunter2"))


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_field_named_like_a_secret_is_masked_whatever_it_holds(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    configure_logging("info", log_format)
    logging.getLogger("isobase.test").info("signed in", extra={"password": "hunter2", "user": "u1"})
    output = capsys.readouterr().err
    assert "hunter2" not in output
    assert "u1" in output


def test_a_json_line_has_time_level_logger_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("isobase.test").warning("slow %s", "query", extra={"duration_ms": 12})
    entry = json.loads(capsys.readouterr().err)
    assert entry["level"] == "warning"
    assert entry["logger"] == "isobase.test"
    assert entry["message"] == "slow query"
    assert entry["duration_ms"] == 12
    assert entry["time"].endswith("Z")


def test_an_exception_is_logged_whole_but_for_its_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    try:
        raise ValueError(f"token was {TOKEN}")
    except ValueError:
        logging.getLogger("isobase.test").exception("failed")
    entry = json.loads(capsys.readouterr().err)
    assert "ValueError" in entry["exception"]
    assert TOKEN not in entry["exception"]
