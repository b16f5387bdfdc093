"""The pure parts: names, sizes, types, ranges, validation, forms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from isobase_services.storage.blob import ByteRange
from isobase_services.storage.blob_response import parse_range
from isobase_services.storage.errors import StorageError
from isobase_services.storage.multipart import MultipartForm
from isobase_services.storage.rest.schema import AnyOf, Array, Boolean, Integer, Object, Schema, Text, validate
from isobase_services.storage.robots import check_robots_tag
from isobase_services.storage.rules import (
    check_bucket_name,
    check_key,
    check_mime_patterns,
    check_mime_type,
    check_new_bucket_name,
    size_limit_bytes,
)


@pytest.mark.parametrize("key", ["a", "folder/cat.png", "/leading", "a//b", "!-.*'() &$=@;:+,?_", "...", "a/.b/..c"])
def test_keys_of_safe_characters_are_taken(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize(
    "key", ["", "é", "a~", "a#b", "50%", "[a]", "{a}", "a^b", "a|b", "a\\b", 'a"b', "<a>", "a\0b", "a\n", "日本"]
)
def test_keys_of_other_characters_are_refused(key: str) -> None:
    with pytest.raises(StorageError, match="Invalid key"):
        check_key(key)


@pytest.mark.parametrize("key", [".", "..", "a/..", "../a", "a/./b", "a/../../etc/passwd", "/.."])
def test_keys_with_dot_segments_are_refused(key: str) -> None:
    with pytest.raises(StorageError, match="Invalid key"):
        check_key(key)


@pytest.mark.parametrize("name", ["", "a/b", "x" * 101, "a\n", "é"])
def test_bucket_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(StorageError, match="Bucket name invalid"):
        check_bucket_name(name)


@pytest.mark.parametrize("name", [" a", "a ", "data--table-s3"])
def test_new_buckets_have_no_outer_spaces_and_no_reserved_ending(name: str) -> None:
    with pytest.raises(StorageError, match="Bucket name invalid"):
        check_new_bucket_name(name)


@pytest.mark.parametrize(
    "given, expected",
    [(7, 7), ("20mb", 20_000_000), ("1.5GB", 1_500_000_000), ("30kb", 30_000), ("3b", 3), ("1.2345kb", 1230)],
)
def test_sizes_are_decimal(given: int | str, expected: int) -> None:
    assert size_limit_bytes(given, 5_000_000_000) == expected


def test_a_size_beyond_the_projects_limit_is_refused() -> None:
    with pytest.raises(StorageError, match="exceeded the maximum allowed size"):
        size_limit_bytes("1gb", 1000)


@pytest.mark.parametrize(
    "mime_type, allowed, fits",
    [
        ("image/png", ["image/*"], True),
        ("image/png", ["image/png", "text/plain"], True),
        ("image/png", ["image/jpeg"], False),
        ("text/plain;charset=utf-8", ["text/plain"], False),
        ("text/plain;charset=utf-8", ["text/plain;charset=utf-8"], True),
        ("anything", [], True),
        ("anything", ["image/*"], False),
        ("image/png", ["*"], False),
        ("image/png", ["*/*"], False),
    ],
)
def test_mime_types_are_compared_as_upstream_does(mime_type: str, allowed: list[str], fits: bool) -> None:
    if fits:
        check_mime_type(mime_type, allowed)
    else:
        with pytest.raises(StorageError, match=f"mime type {mime_type} is not supported"):
            check_mime_type(mime_type, allowed)


@pytest.mark.parametrize("pattern", ["image", "image/", "te xt/plain", "text/plain; foo=bar", "a" * 1001 + "*"])
def test_mime_patterns_that_are_none_are_refused(pattern: str) -> None:
    with pytest.raises(StorageError, match="is not supported"):
        check_mime_patterns([pattern])


def test_mime_patterns_may_end_in_a_star_or_name_a_charset() -> None:
    check_mime_patterns(["image/*", "*", "text/plain; charset=utf-8", "application/vnd.api+json"])


@pytest.mark.parametrize(
    "value",
    [
        "none",
        "noindex, nofollow",
        "max-snippet: -1, max-image-preview: large",
        "googlebot: noindex",
        "unavailable_after: Sat, 01 Jan 2028 00:00:00 GMT, noindex",
        "unavailable_after: 2028-01-01",
    ],
)
def test_robots_tags_that_search_engines_understand_are_taken(value: str) -> None:
    check_robots_tag(value)


@pytest.mark.parametrize(
    "value",
    ["", " ", "nothing", "noindex,,none", "max-snippet: many", "max-image-preview: huge", "bot:", "a:b:c:d:e:f:g"],
)
def test_other_robots_tags_are_refused(value: str) -> None:
    with pytest.raises(StorageError, match="Invalid X-Robots-Tag header"):
        check_robots_tag(value)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("bytes=0-4", ByteRange(0, 4)),
        ("bytes=5-", ByteRange(5, 9)),
        ("bytes=-3", ByteRange(7, 9)),
        ("bytes=-100", ByteRange(0, 9)),
        ("bytes=0-1000", ByteRange(0, 9)),
        ("bytes=9-9", ByteRange(9, 9)),
    ],
)
def test_a_range_is_cut_to_the_object(text: str, expected: ByteRange) -> None:
    assert parse_range(text, 10) == expected


@pytest.mark.parametrize(
    "text",
    [
        "bytes=10-",
        "bytes=5-4",
        "bytes=-0",
        "bytes=-",
        "bytes=0-1,3-4",
        "items=0-1",
        "bytes=a-b",
        "bytes=0-" + "9" * 5000,
    ],
)
def test_a_range_that_cannot_be_served_is_refused(text: str) -> None:
    with pytest.raises(StorageError, match="invalid range provided"):
        parse_range(text, 10)


def test_no_range_of_an_empty_object_can_be_served() -> None:
    with pytest.raises(StorageError, match="invalid range provided"):
        parse_range("bytes=0-", 0)


@pytest.mark.parametrize(
    "schema, given, expected",
    [
        (Integer(minimum=1), "60", 60),
        (Integer(minimum=1), True, 1),
        (Integer(minimum=0), None, 0),
        (Integer(minimum=1), [5], 5),
        (Integer(minimum=1), 6.0, 6),
        (Integer(minimum=1), 10**4000, 10**4000),
        (Integer(minimum=1), "1e3", 1000),
        (Text(), 10**400, str(10**400)),
        (Text(), 5.0, "5"),
        (Text(), 12, "12"),
        (Text(), None, ""),
        (Text(), True, "true"),
        (Boolean(), "true", True),
        (Boolean(), 0, False),
        (Boolean(), None, False),
        (Array(Text()), "one", ["one"]),
        (Array(Text(), is_nullable=True), None, None),
    ],
)
def test_values_are_coerced_as_upstream_does(schema: Schema, given: Any, expected: Any) -> None:
    assert validate(Object({"field": schema}), {"field": given}, "body") == {"field": expected}


@pytest.mark.parametrize(
    "schema, given, message",
    [
        (Integer(minimum=1), 0, "body/field must be >= 1"),
        (Integer(minimum=1), "x", "body/field must be integer"),
        (Integer(minimum=1), "", "body/field must be integer"),
        (Integer(minimum=1), 1.5, "body/field must be integer"),
        (Integer(minimum=1), float("inf"), "body/field must be integer"),
        (Integer(minimum=1), "9" * 9000, "body/field must be integer"),
        (Text(choices=("a",)), "b", "body/field must be equal to one of the allowed values"),
        (Text(), {}, "body/field must be string"),
        (Boolean(), "yes", "body/field must be boolean"),
        (Array(Text(), min_items=1), [], "body/field must NOT have fewer than 1 items"),
        (Array(Text(), max_items=1), ["a", "b"], "body/field must NOT have more than 1 items"),
        (Array(Text()), {}, "body/field must be array"),
        (Array(Text()), [{}], "body/field/0 must be string"),
        (
            AnyOf((Integer(minimum=0), Text(pattern="^[0-9]+b$"))),
            "x",
            'body/field must be integer, body/field must match pattern "^[0-9]+b$", body/field must match a schema in anyOf',
        ),
    ],
)
def test_values_that_do_not_fit_are_refused_in_upstreams_words(schema: Schema, given: Any, message: str) -> None:
    with pytest.raises(StorageError) as caught:
        validate(Object({"field": schema}), {"field": given}, "body")
    assert (caught.value.message, caught.value.label, caught.value.code) == (message, "Error", "InvalidRequest")


def test_a_missing_member_and_a_body_that_is_no_object_are_refused() -> None:
    with pytest.raises(StorageError, match="body must have required property 'name'"):
        validate(Object({"name": Text()}, required=("name",)), {}, "body")
    with pytest.raises(StorageError, match="body must be object"):
        validate(Object({}), None, "body")


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="cacheControl"\r\n\r\n3600\r\n'
    b'--x\r\nContent-Disposition: form-data; name=""; filename="a.png"\r\nContent-Type: image/PNG; q=1\r\n\r\n'
    b"\r\n--not the end\r\n\r\n"
    b'\r\n--x\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{"a":1}\r\n--x--\r\n'
)


async def _chunks(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
async def test_a_form_is_read_whatever_the_chunks(size: int) -> None:
    form = MultipartForm("multipart/form-data; boundary=x", _chunks(FORM, size))
    part = await form.head()
    content = b"".join([chunk async for chunk in form.file_chunks()])
    assert (part.name, part.filename, part.content_type) == ("", "a.png", "image/png")
    assert content == b"\r\n--not the end\r\n\r\n"
    assert form.fields == {"cacheControl": "3600", "metadata": '{"a":1}'}


async def test_a_form_that_ends_early_is_refused() -> None:
    form = MultipartForm("multipart/form-data; boundary=x", _chunks(FORM[:-40], 50))
    await form.head()
    with pytest.raises(StorageError, match="unexpected end of multipart data"):
        [chunk async for chunk in form.file_chunks()]


async def test_a_form_without_a_file_is_refused() -> None:
    content = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    with pytest.raises(StorageError, match="No content provided"):
        await MultipartForm("multipart/form-data; boundary=x", _chunks(content, 9)).head()


async def test_a_form_with_too_many_fields_is_refused() -> None:
    content = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 11
    with pytest.raises(StorageError, match="reach fields limit"):
        await MultipartForm("multipart/form-data; boundary=x", _chunks(content, 100)).head()


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; a=b"]
)
def test_a_form_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(StorageError, match="Boundary not found"):
        MultipartForm(content_type, _chunks(b"", 1))


async def test_a_form_that_is_garbage_is_refused() -> None:
    form = MultipartForm("multipart/form-data; boundary=x", _chunks(b"garbage" * 100, 10))
    with pytest.raises(StorageError, match="multipart data"):
        await form.head()
