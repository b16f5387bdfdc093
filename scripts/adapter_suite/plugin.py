"""A pytest plugin: what one of supabase-py's suites makes is what a migration client is made of.

ADAPTER_SUITE holds JSON of ``run.py``: the stage (``plain``: the official clients themselves), and for each address that
stands in the suite where its two sides are. An address that is not named is nobody's: it stays as it is, with no Isobase.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import postgrest
import storage3
import supabase
import supabase_auth
import supabase_functions
from storage3.constants import DEFAULT_TIMEOUT
from supabase_auth.constants import GOTRUE_URL

from isobase_adapter import AsyncMigrationClient, MigrationSettings, create_migration_client
from isobase_adapter._async.auth import AsyncMigrationAuthClient
from isobase_adapter._async.client import AsyncHttp
from isobase_adapter._async.rows import AsyncMigrationPostgrestClient
from isobase_adapter._sync.auth import SyncMigrationAuthClient
from isobase_adapter._sync.client import SyncHttp
from isobase_adapter._sync.rows import SyncMigrationPostgrestClient
from isobase_adapter.core import Core
from isobase_adapter.settings import rpc_rule_of
from isobase_adapter.storage.urls import AsyncMigrationStorage, SyncMigrationStorage

__all__: list[str] = []

GIVEN: dict[str, Any] = json.loads(os.environ["ADAPTER_SUITE"])
IS_PLAIN = GIVEN["stage"] == "plain"
NOWHERE = "http://127.0.0.1:9"
"""Nobody answers there: the suites that ask no server are not to ask one here either."""


@dataclass(slots=True, frozen=True)
class Place:
    """Both sides of an address; ``path`` is the service's below each side's URL."""

    supabase: str
    isobase: str
    path: str = ""


def place_of(url: object) -> Place:
    """Find the sides of an address that the suite names."""
    address = str(url).rstrip("/")
    named = GIVEN["places"].get(address)
    return Place(**named) if named else Place(address, NOWHERE)


def moved(url: str) -> str:
    """Give the address at which the Supabase side serves what the suite looks for at ``url``."""
    place = place_of(url)
    return f"{place.supabase}{place.path}" if place.isobase != NOWHERE else url


@cache
def settings(isobase_url: str) -> MigrationSettings:
    """Give the move's settings; the stage is in the control store, or in a file where there is no server."""
    return MigrationSettings(isobase_url=isobase_url, **{**GIVEN["settings"], **_typed()})


def _typed() -> dict[str, Any]:
    rules = {name: rpc_rule_of("both") for name in ("public.*", "personal.*")}
    return {name: Path(GIVEN[name]) for name in ("spool_dir", "flags_file") if GIVEN.get(name)} | {"rpc": rules}


@cache
def core_of(supabase_url: str, isobase_url: str) -> Core:
    """Give the core that all clients of an address share, as clients of one process do."""
    core = Core.of(settings(isobase_url), supabase_url, GIVEN["key"])
    core.ready_now()
    return core


def on_sides(url: str, given: Any, http: Callable[[Core, Any], Any]) -> tuple[Core, Any]:
    """Give the core and the http clients for a service at ``url``; given: the suite's own http client."""
    place = place_of(url)
    core = core_of(place.supabase, place.isobase)
    return core, http(core, given)


def _rest(official: type, ours: Any, http: Any) -> Callable[..., Any]:
    def make(base_url: str, **given: Any) -> Any:
        _, clients = on_sides(base_url, given.pop("http_client", None), http)
        client = official(moved(base_url), http_client=clients.client("rest", given.get("timeout")), **given)
        clients.tell("rest", client.headers, moved(base_url))
        return ours.like(client)

    return make


def _storage(ours: Any, http: Any) -> Callable[..., Any]:
    def make(url: str, headers: dict[str, str], **given: Any) -> Any:
        limit = given.get("timeout", DEFAULT_TIMEOUT)
        core, clients = on_sides(url, given.pop("http_client", None), http)
        made = ours(moved(url), headers, http_client=clients.client("storage", limit), **given)
        made.side_url = core.storage_url
        clients.tell("storage", made._headers)
        return made

    return make


def _auth(ours: Any, http: Any) -> Callable[..., Any]:
    def make(**given: Any) -> Any:
        url = given.pop("url", GOTRUE_URL)
        core, clients = on_sides(url, given.pop("http_client", None), http)
        return ours.on(core, url=moved(url), http_client=clients.client("auth"), **given)

    return make


def _admin(official: type, http: Any) -> Callable[..., Any]:
    def make(**given: Any) -> Any:
        url = given.pop("url", "")
        _, clients = on_sides(url, given.pop("http_client", None), http)
        return official(url=moved(url), http_client=clients.client("auth"), **given)

    return make


def _functions(official: type, http: Any) -> Callable[..., Any]:
    def make(url: Any, headers: dict[str, str], timeout: Any = None, *more: Any, **given: Any) -> Any:
        if not isinstance(url, str) or not url.startswith("http"):
            return official(url, headers, timeout, *more, **given)  # refused there
        _, clients = on_sides(url, given.pop("http_client", None), http)
        return official(url, headers, timeout, *more, http_client=clients.client("functions", timeout), **given)

    return make


def _plain(official: type) -> Callable[..., Any]:
    def make(*args: Any, **given: Any) -> Any:
        for name in ("url", "base_url"):
            if isinstance(given.get(name), str):
                given[name] = moved(given[name])
        if args and isinstance(args[0], str):
            args = (moved(args[0]), *args[1:])
        return official(*args, **given)

    return make


def _as_class(official: type, make: Callable[..., Any]) -> type:
    """Give a class in the official one's place: what is made is ours, and is an instance of both."""

    class Meta(type(official)):  # type: ignore[misc]
        def __call__(cls, *args: Any, **given: Any) -> Any:
            return make(*args, **given)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, official)

    return Meta(official.__name__, (official,), {"__module__": official.__module__, "__doc__": official.__doc__})


def _sync_client(url: Any, key: Any, options: Any = None) -> Any:
    return create_migration_client(url, key, options, migration=settings(NOWHERE))


async def _async_client(url: Any, key: Any, options: Any = None) -> Any:
    return await AsyncMigrationClient.create_migration(url, key, options, settings(NOWHERE))


MAKERS: tuple[tuple[Any, str, Callable[[type], Callable[..., Any]]], ...] = (
    (postgrest, "SyncPostgrestClient", lambda one: _rest(one, SyncMigrationPostgrestClient, SyncHttp)),
    (postgrest, "AsyncPostgrestClient", lambda one: _rest(one, AsyncMigrationPostgrestClient, AsyncHttp)),
    (storage3, "SyncStorageClient", lambda _: _storage(SyncMigrationStorage, SyncHttp)),
    (storage3, "AsyncStorageClient", lambda _: _storage(AsyncMigrationStorage, AsyncHttp)),
    (supabase_auth, "SyncGoTrueClient", lambda _: _auth(SyncMigrationAuthClient, SyncHttp)),
    (supabase_auth, "AsyncGoTrueClient", lambda _: _auth(AsyncMigrationAuthClient, AsyncHttp)),
    (supabase_auth, "SyncGoTrueAdminAPI", lambda one: _admin(one, SyncHttp)),
    (supabase_auth, "AsyncGoTrueAdminAPI", lambda one: _admin(one, AsyncHttp)),
    (supabase_functions, "SyncFunctionsClient", lambda one: _functions(one, SyncHttp)),
    (supabase_functions, "AsyncFunctionsClient", lambda one: _functions(one, AsyncHttp)),
)


def pytest_configure() -> None:
    """Put what is made here into the places that the suites import from."""
    part = GIVEN["part"]
    if part == "supabase":
        if not IS_PLAIN:
            for name, make in (
                ("create_client", _sync_client),
                ("acreate_client", _async_client),
                ("create_async_client", _async_client),
            ):
                setattr(supabase, name, make)
        return
    for module, name, maker in MAKERS:
        official = getattr(module, name)
        if module.__name__ == GIVEN["package"]:
            setattr(module, name, _as_class(official, _plain(official) if IS_PLAIN else maker(official)))
