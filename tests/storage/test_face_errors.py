"""The same failures behind every face: each answers in its own shape and tells nothing of the inside."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from isobase_platform.caller import Caller
from isobase_platform.config import Settings
from isobase_services.storage.core.database import StorageDatabase
from tests.storage.conftest import ALICE, Stack, running
from tests.storage.s3_clients import signed
from tests.storage.test_resumable import VERSION, R, metadata


@dataclass(frozen=True)
class Face:
    """One face: a request that asks the database, and what an error's body says, once its shape is checked."""

    request: Callable[[Stack], httpx.Request]
    told: Callable[[httpx.Response], tuple[str, str]]


def rest_request(stack: Stack) -> httpx.Request:
    return httpx.Request("GET", f"{stack.url}/storage/v1/object/files/{ALICE}/a", headers=stack.user(ALICE))


def rest_told(answer: httpx.Response) -> tuple[str, str]:
    body = answer.json()
    assert set(body) == {"statusCode", "error", "message", "code"}
    # The true status is in the body; 400 stands for almost all of them.
    assert answer.status_code == 400 or body["statusCode"] == str(answer.status_code)
    return body["code"], body["message"]


def s3_request(stack: Stack) -> httpx.Request:
    return signed(stack, "/files/a")


def s3_told(answer: httpx.Response) -> tuple[str, str]:
    assert answer.headers["content-type"].startswith("application/xml")
    root = ElementTree.fromstring(answer.content)
    assert root.tag == "Error"
    assert [child.tag for child in root] == ["Code", "Message", "Resource", "RequestId"]
    assert root.findtext("RequestId") == answer.headers["x-amz-request-id"]
    return root.findtext("Code", ""), root.findtext("Message", "")


def tus_request(stack: Stack) -> httpx.Request:
    given = {"upload-length": "3", "upload-metadata": metadata(bucketName="files", objectName=f"{ALICE}/a")}
    return httpx.Request("POST", f"{stack.url}{R}", headers={**VERSION, **stack.user(ALICE), **given})


def tus_told(answer: httpx.Response) -> tuple[str, str]:
    assert (answer.headers["content-type"], answer.headers["tus-resumable"]) == ("text/plain;charset=UTF-8", "1.0.0")
    return "", answer.text


def simple_request(stack: Stack) -> httpx.Request:
    return httpx.Request("GET", f"{stack.url}/storage/{uuid.uuid4()}", headers=stack.user(ALICE))


def simple_told(answer: httpx.Response) -> tuple[str, str]:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"code", "message", "details", "hint", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    return error["code"], error["message"]


FACES = {
    "rest": Face(rest_request, rest_told),
    "s3": Face(s3_request, s3_told),
    "tus": Face(tus_request, tus_told),
    "simple": Face(simple_request, simple_told),
}


async def outcomes(stack: Stack) -> dict[str, tuple[int, str, str]]:
    found = {}
    for name, face in FACES.items():
        answer = await stack.http.send(face.request(stack))
        found[name] = (answer.status_code, *face.told(answer))
    return found


async def test_what_is_not_there_is_told_in_each_faces_words(storage: Stack) -> None:
    assert await outcomes(storage) == {
        "rest": (400, "NoSuchBucket", "Bucket not found"),
        "s3": (404, "NoSuchKey", "Object not found"),
        "tus": (404, "", "Bucket not found"),
        "simple": (404, "no_such_key", "Object not found"),
    }


async def test_a_fault_of_the_server_tells_nothing(storage: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("inner text")

    for name in ("once", "ask", "transaction"):
        monkeypatch.setattr(StorageDatabase, name, fail)
    message = "Internal Server Error"
    assert await outcomes(storage) == {
        "rest": (500, "InternalError", message),
        "s3": (500, "InternalError", message),
        "tus": (500, "", message),
        "simple": (500, "internal_error", "An unexpected error happened"),
    }


async def test_a_database_without_a_free_connection_is_a_timeout(
    database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = database.database.model_copy(update={"pool_max_size": 1})
    message = "The connection to the database timed out"
    async with running(database.model_copy(update={"database": group})) as stack:
        async with stack.platform.door.transaction(Caller.service()):
            monkeypatch.setattr(stack.platform.door._pool, "_acquire_timeout_s", 0.1)
            assert await outcomes(stack) == {
                "rest": (544, "DatabaseTimeout", message),
                "s3": (544, "DatabaseTimeout", message),
                "tus": (544, "", message),
                "simple": (503, "pool_timeout", "No database connection became free in time"),
            }
