"""Errors as values: they cross process boundaries, and take no keys along."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil

import httpx
import pytest

import isobase
from isobase.auth.errors import (
    AuthApiError,
    AuthError,
    AuthImplicitGrantRedirectError,
    AuthInvalidCredentialsError,
    AuthInvalidJwtError,
    AuthPKCECodeVerifierMissingError,
    AuthRetryableError,
    AuthSessionMissingError,
    AuthUnknownError,
    AuthWeakPasswordError,
    CustomAuthError,
    UserDoesntExist,
)
from isobase.errors import CallCancelled, DeadlineExceeded, IsobaseAPIError, SupabaseException
from isobase.functions import FunctionsError, FunctionsHttpError, FunctionsRelayError
from isobase.postgrest import APIError, RowValidationError
from isobase.realtime import AuthorizationError, NotConnectedError
from isobase.realtime.exceptions import RealtimeAckError, RealtimeBufferFullError, RealtimeHTTPError
from isobase.realtime.wire import WireError
from isobase.storage import StorageApiError, StorageException, TransferError
from isobase.storage.exceptions import VectorBucketException

REFUSED = {"message": "no such row", "code": "PGRST116", "hint": "look again", "details": None}

ERRORS: list[Exception] = [
    APIError(REFUSED, status=406),
    RowValidationError(REFUSED),
    AuthApiError("no", 403, "not_admin"),
    AuthError("no", None),
    AuthImplicitGrantRedirectError("no", {"error": "access_denied", "code": "403"}),
    AuthInvalidCredentialsError("no"),
    AuthInvalidJwtError("no"),
    AuthPKCECodeVerifierMissingError(),
    AuthRetryableError("away", 503),
    AuthSessionMissingError(),
    AuthUnknownError("no", ValueError("no JSON")),
    AuthWeakPasswordError("weak", 422, ["length"]),
    CustomAuthError("no", "Custom", 400, None),
    UserDoesntExist(),
    AuthorizationError("no"),
    NotConnectedError("send"),
    RealtimeAckError("no", response={"reason": "no"}),
    RealtimeBufferFullError("full"),
    RealtimeHTTPError("no", 403),
    WireError("no frame"),
    CallCancelled(),
    DeadlineExceeded(2.5),
    FunctionsError("no", "Odd", 500),
    FunctionsHttpError("no", 404),
    FunctionsRelayError("no", 502),
    IsobaseAPIError("room_not_found", "no", {"a": 1}, "look again", "r1", 404),
    StorageApiError("no", "not_found", "404", error_code="NoSuchKey", http_status=400),
    StorageException("no"),
    TransferError("short"),
    VectorBucketException("too many"),
    SupabaseException("no key"),
]


def classes_of_the_sdk() -> set[type]:
    found: set[type] = set()
    for module in pkgutil.walk_packages(isobase.__path__, prefix="isobase."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Exception) and value.__module__.startswith("isobase."):
                found.add(value)
    return found


def test_every_error_of_the_sdk_is_in_the_list() -> None:
    assert {type(error) for error in ERRORS} == classes_of_the_sdk()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_a_pickle_and_a_copy(error: Exception) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert (str(twin), repr(twin)) == (str(error), repr(error))
        shown, wanted = ({k: repr(v) for k, v in vars(one).items()} for one in (twin, error))
        assert shown == wanted


@pytest.mark.parametrize("kind", [FunctionsHttpError, DeadlineExceeded])
def test_a_pickled_error_takes_no_keys_along(kind: type[Exception]) -> None:
    request = httpx.Request("GET", "http://localhost/", headers={"apikey": "sb_secret_of_the_project"})
    error: FunctionsHttpError | DeadlineExceeded
    if kind is DeadlineExceeded:
        error = DeadlineExceeded(1.0, request=request)
    else:
        error = FunctionsHttpError("no", 404)
        error.response = httpx.Response(404, text="no", request=request)
    assert b"sb_secret_of_the_project" not in pickle.dumps(error)
