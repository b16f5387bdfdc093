"""Kinds of uploads in the settings: what is refused at start, and which keys come of a template."""

from __future__ import annotations

import json
from typing import Any

import pytest

from isobase_platform.config import StorageSettings, load_settings
from isobase_platform.errors import ConfigurationError
from isobase_services.storage.core.kinds import Kind, Kinds
from isobase_services.storage.errors import StorageError
from tests.storage.conftest import ALICE

NOW_MS = 1_767_600_000_123


def kind(name: str, **settings: Any) -> Kind:
    return Kinds(StorageSettings.model_validate({"kinds": {name: settings}})).get(name)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"key": "a/{nobody}/b"}, "names {nobody}"),
        ({"key": "a/{activity_id}", "variables": ["activity_id", "other"]}, "variable other"),
        ({"key": "a/{user_id}", "variables": ["user_id"]}, "variable user_id"),
        ({"key": ""}, "no path"),
        ({"key": "/a"}, "no path"),
        ({"key": "a//b"}, "no path"),
        ({"key": "a/../{user_id}"}, "no path"),
        ({"key": "a/{user_id"}, "no path"),
        ({"key": "a/{User}"}, "no path"),
        ({"key": "ä"}, "no path"),
        ({"key": "a", "public": True, "bucket": "b"}, "public chooses"),
        ({"key": "a/{user_id}", "keep_latest": 1}, "keep_latest needs"),
        ({"key": "a", "max_size_bytes": 0}, "greater than or equal to 1"),
        ({"key": "a", "colour": "red"}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_kind_that_cannot_be_is_refused_at_start(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_settings(file_values={"storage": {"kinds": {"one": settings}}})


@pytest.mark.parametrize("name", ["", "Upper", "a b", "x" * 33, "-a", "a/b"])
def test_a_name_that_no_kind_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no name of a kind"):
        load_settings(file_values={"storage": {"kinds": {name: {"key": "a"}}}})


def test_a_default_kind_can_be_changed_in_one_point_or_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"story-media": {"max_size_bytes": 5}, "activity-image": {"enabled": False}}
    monkeypatch.setenv("ISOBASE_STORAGE__KINDS", json.dumps(changes))
    settings = load_settings().storage
    assert set(settings.kinds) == {"profile-picture", "activity-image", "story-media"}
    assert settings.kinds["story-media"].max_size_bytes == 5
    assert settings.kinds["story-media"].key == "story-media/{user_id}/{timestamp}-{random}.{ext}"
    assert Kinds(settings).find("activity-image") is None


@pytest.mark.parametrize(
    ("mime_type", "ext"),
    [("image/jpeg", "jpg"), ("IMAGE/PNG; x=y", "png"), ("video/quicktime", "mov"), ("application/x-nothing", "bin")],
)
def test_the_extension_follows_the_type(mime_type: str, ext: str) -> None:
    planned = kind("one", key="{user_id}/{timestamp}.{ext}").plan(ALICE, mime_type, {}, NOW_MS)
    assert planned.key == f"{ALICE}/{NOW_MS}.{ext}"


def test_a_key_that_is_the_same_every_time_may_be_replaced_and_is_not_kept_for_a_year() -> None:
    planned = kind("one", key="banners/{user_id}").plan(ALICE, "image/png", {}, NOW_MS)
    assert (planned.is_upsert, planned.cache_control) == (True, "max-age=3600")
    other = kind("one", key="banners/{user_id}/{random}", public=True).plan(ALICE, "image/png", {}, NOW_MS)
    assert (other.is_upsert, other.cache_control) == (False, "public, max-age=31536000, immutable")
    assert other.bucket == "user-files-public"


def test_a_user_whose_id_no_key_can_hold_is_refused() -> None:
    for user_id in ("auth0|1", "../x", "a/b", ""):
        with pytest.raises(Exception, match="cannot be part of a key"):
            kind("one", key="a/{user_id}").plan(user_id, "image/png", {}, NOW_MS)


def test_a_size_at_the_limit_is_fine_and_one_more_is_not() -> None:
    one = kind("one", key="a", max_size_bytes=10)
    one.check_size(10)
    with pytest.raises(StorageError, match="exceeded the maximum"):
        one.check_size(11)


def test_older_files_are_those_of_the_same_user_and_template() -> None:
    one = kind("one", key="a.b/{group}/{user_id}/x-{timestamp}.{ext}", variables=["group"], keep_latest=3)
    older = one.older_files(ALICE)
    assert older is not None
    assert (older.prefix, older.keep) == ("a.b/", 3)
    user = ALICE.replace("-", "\\-")
    assert older.pattern == rf"^a\.b/[A-Za-z0-9_-]+/{user}/x\-[0-9]+\.[a-z0-9]+$"
    assert kind("one", key="a/{user_id}/{random}").older_files(ALICE) is None


@pytest.mark.parametrize("name", ["url", "purge_url", "cloudfront_endpoint_url"])
@pytest.mark.parametrize(
    "value", ["", "cdn.example", "ftp://cdn.example", "https://", "https://cdn.example/?a=b", "https://["]
)
def test_an_address_of_a_network_that_is_none_is_refused_at_start(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"storage\.cdn"):
        load_settings(file_values={"storage": {"cdn": {name: value}}})
