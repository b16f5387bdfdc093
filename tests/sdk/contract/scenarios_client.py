"""The composed client: how it is made, what it shows of itself, and what it keeps between runs of a program."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import supabase

from tests.sdk.contract.kit import Call, Kit, Scenario, scenario
from tests.sdk.contract.scenarios_auth import ANN

__all__ = ["ANN", "KEPT", "SCENARIOS", "kept"]

KEYS = {"apikey", "authorization", "accept-profile", "content-profile", "accept", "x-own"}


class _Kept:
    """A session storage over a dict, for the sync client."""

    def __init__(self) -> None:
        self.items: dict[str, str] = {}

    def get_item(self, key: str) -> str | None:
        return self.items.get(key)

    def set_item(self, key: str, value: str) -> None:
        self.items[key] = value

    def remove_item(self, key: str) -> None:
        self.items.pop(key, None)


class _AsyncKept:
    """The same for asyncio."""

    def __init__(self) -> None:
        self.items: dict[str, str] = {}

    async def get_item(self, key: str) -> str | None:
        return self.items.get(key)

    async def set_item(self, key: str, value: str) -> None:
        self.items[key] = value

    async def remove_item(self, key: str) -> None:
        self.items.pop(key, None)


def create(kit: Kit, *arguments: Any) -> Any:
    package = kit.module("supabase")
    return (package.create_client if kit.mode == "sync" else package.create_async_client)(*arguments)


def options(kit: Kit, **given: Any) -> Any:
    prefix = "Async" if kit.mode == "async" else "Sync"
    return getattr(kit.module("supabase.lib.client_options"), f"{prefix}ClientOptions")(**given)


def headers(found: Any) -> dict[str, str]:
    """Those that decide who calls and what is asked for."""
    return {name.lower(): value for name, value in found.items() if name.lower() in KEYS}


def own(kit: Kit) -> Any:
    return kit.client("own", kit.place.anon_key, schema="other", headers={"X-Own": "1"})


MADE: dict[str, Call] = {
    "no URL": lambda k: create(k, "", "key"),
    "no key": lambda k: create(k, "http://127.0.0.1:9", ""),
    "no text": lambda k: create(k, None, None),
    "no such URL": lambda k: create(k, "nowhere", "key"),
    "a path": lambda k: create(k, "ftp://127.0.0.1", "key"),
    "a key with spaces": lambda k: create(k, "http://127.0.0.1:9", "no key at all"),
    "options": lambda k: (
        {
            name: value
            for name, value in vars(options(k)).items()
            if name not in {"headers", "storage"} and not callable(value)
        }.items()
        >= {"schema": "public", "auto_refresh_token": True, "persist_session": True, "flow_type": "pkce"}.items()
    ),
    "options replaced": lambda k: options(k, schema="a").replace(schema="b", persist_session=False).schema,
    "no such option": lambda k: options(k, colour="red"),
    "addresses": lambda k: {
        name: str(getattr(own(k), name)).rstrip("/")
        for name in ("supabase_url", "rest_url", "auth_url", "storage_url", "functions_url", "realtime_url")
    },
    "key": lambda k: own(k).supabase_key,
    "options of a client": lambda k: [own(k).options.schema, headers(own(k).options.headers)],
    "data headers": lambda k: headers(own(k).postgrest.headers),
    "the other schema": lambda k: own(k).table("books").select("*").execute(),
    "auth headers": lambda k: headers(own(k).auth._headers),
    "storage headers": lambda k: headers(own(k).storage._headers),
    "functions headers": lambda k: headers(own(k).functions.headers),
    "parts": lambda k: [
        type(getattr(own(k), name)).__name__ for name in ("auth", "postgrest", "storage", "functions", "realtime")
    ],
    "parts are made once": lambda k: [
        getattr(own(k), name) is getattr(own(k), name) for name in ("auth", "postgrest", "storage", "functions")
    ],
    "names": lambda k: [name for name in sorted(supabase.__all__) if hasattr(k.module("supabase"), name)],
}


def kept(kit: Kit) -> Any:
    """The client whose sessions a program keeps."""
    if "kept" not in kit.seen:
        kit.seen["kept"] = _AsyncKept() if kit.mode == "async" else _Kept()
    return kit.client("kept", kit.place.anon_key, storage=kit.seen["kept"])


def stored(kit: Kit) -> Any:
    """What was stored, by key; a session as the JSON that it is."""
    return {key: _parsed(value) for key, value in kit.seen["kept"].items.items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def again(kit: Kit) -> Any:
    """Another start of the program, on what the first one left."""
    return kit.client("again", kit.place.anon_key, storage=kit.seen["kept"]).auth.get_session()


KEPT: dict[str, Call] = {
    "sign up": lambda k: kept(k).auth.sign_up(ANN),
    "stored": stored,
    "session dumped": lambda k: k.seen["sign up"].session.model_dump(mode="json"),
    "user dumped": lambda k: k.seen["sign up"].user.model_dump(mode="json"),
    "session in JSON": lambda k: json.loads(k.seen["sign up"].session.model_dump_json()),
    "session read again": lambda k: type(k.seen["sign up"].session).model_validate_json(
        k.seen["sign up"].session.model_dump_json()
    ),
    "another start": again,
    "sign in by mail": lambda k: kept(k).auth.sign_in_with_otp({"email": ANN["email"]}),
    "stored verifier": lambda k: sorted(stored(k)),
    "sign out": lambda k: kept(k).auth.sign_out(),
    "stored after": lambda k: sorted(stored(k)),
    "another start after": again,
}


def refused(kit: Kit) -> Any:
    """An error of the data client, as an app catches it."""
    return kit.module("postgrest.exceptions").APIError({"message": "no", "code": "1", "hint": None, "details": "d"})


ERRORS: dict[str, Call] = {
    "data": lambda k: refused(k),
    "data as text": lambda k: [str(refused(k)), repr(refused(k)), refused(k).json()],
    "data copied": lambda k: copy.copy(refused(k)),
    "auth": lambda k: k.module("supabase_auth.errors").AuthApiError("no", 400, "bad_json"),
    "auth as text": lambda k: repr(k.module("supabase_auth.errors").AuthApiError("no", 400, "bad_json")),
    "weak password": lambda k: k.module("supabase_auth.errors").AuthWeakPasswordError("no", 422, ["length"]),
    "storage": lambda k: k.module("storage3.exceptions").StorageApiError("no", "NoSuchKey", 404),
    "functions": lambda k: k.module("supabase_functions.errors").FunctionsHttpError("no", 500),
    "functions relay": lambda k: k.module("supabase_functions.errors").FunctionsRelayError("no"),
    "realtime": lambda k: k.module("realtime.exceptions").NotConnectedError("send"),
    "realtime authorization": lambda k: k.module("realtime.exceptions").AuthorizationError("no"),
    "client": lambda k: k.module("supabase").SupabaseException("no"),
    "pickled": lambda k: len(pickle.dumps(refused(k))) > 0,
    "caught by its base": lambda k: [
        issubclass(getattr(k.module("supabase_auth.errors"), name), k.module("supabase_auth.errors").AuthError)
        for name in ("AuthApiError", "AuthWeakPasswordError", "AuthSessionMissingError", "AuthRetryableError")
    ],
    "answer": lambda k: k.module("postgrest").APIResponse(data=[{"a": 1}], count=1),
    "answer dumped": lambda k: k.module("postgrest").APIResponse(data=[{"a": 1}], count=1).model_dump(),
}

SCENARIOS: tuple[Scenario, ...] = (
    scenario("client.made", MADE),
    scenario("client.kept", KEPT),
    scenario("client.errors", ERRORS),
)
