"""Run the calls of a scenario with one of the two libraries."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, TypeAlias

from isobase.codemod import PACKAGES
from tests.sdk.contract.shown import Shown, shown, shown_error

__all__ = ["PATIENT", "Call", "Kit", "Library", "Mode", "Place", "Scenario", "run", "scenario"]

PATIENT = {"storage_client_timeout": 60, "function_client_timeout": 60}
"""A machine that stands still may take longer than what both libraries give a call."""
Mode: TypeAlias = Literal["sync", "async"]
Library: TypeAlias = Literal["supabase", "isobase"]


@dataclass(slots=True, frozen=True)
class Place:
    """Where the server is, and its keys."""

    url: str
    anon_key: str
    service_key: str
    jwt_secret: str
    functions_url: str


@dataclass(slots=True)
class Kit:
    """What a call may use: clients of one library in one mode, its modules, and what calls before it gave."""

    library: Library
    mode: Mode
    place: Place
    clients: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def anon(self) -> Any:
        """The client with the anon key; one for the whole scenario, whose user may sign in."""
        return self.client("anon", self.place.anon_key)

    @property
    def service(self) -> Any:
        """The client with the service_role key."""
        return self.client("service", self.place.service_key)

    def client(self, name: str, key: str, url: str | None = None, **options: Any) -> Any:
        """The client called ``name``, made when it is first asked for."""
        if name not in self.clients:
            self.clients[name] = self.new(key, url, **options)
        return self.clients[name]

    def new(self, key: str, url: str | None = None, **options: Any) -> Any:
        """A new client."""
        prefix = "Async" if self.mode == "async" else "Sync"
        given = {**PATIENT, **options}
        made = getattr(self.module("supabase.lib.client_options"), f"{prefix}ClientOptions")(**given)
        package = self.module("supabase")
        kind = package.AsyncClient if self.mode == "async" else package.Client
        return kind(url or self.place.url, key, made)

    def module(self, name: str) -> ModuleType:
        """A module by its name in supabase-py."""
        if self.library == "supabase":
            return import_module(name)
        root, dot, rest = name.partition(".")
        return import_module(f"{PACKAGES[root]}{dot}{rest}")


Call: TypeAlias = Callable[[Kit], Any]


@dataclass(slots=True, frozen=True)
class Scenario:
    """Calls by name, made in their order; each is run whatever became of those before it."""

    name: str
    calls: Mapping[str, Call]
    modes: tuple[Mode, ...] = ("sync", "async")


def scenario(name: str, calls: Mapping[str, Call], *, modes: tuple[Mode, ...] = ("sync", "async")) -> Scenario:
    """A scenario of ``calls``."""
    return Scenario(name, calls, modes)


async def run(kit: Kit, calls: Mapping[str, Call]) -> dict[str, Shown]:
    """What each call gave or raised, as plain values."""
    found: dict[str, Shown] = {}
    try:
        for name, call in calls.items():
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                try:
                    value = call(kit)
                    if inspect.isawaitable(value):
                        value = await value
                except Exception as error:
                    found[name] = shown_error(error)
                else:
                    kit.seen[name] = value
                    found[name] = {"gives": shown(value)}
            told = sorted({one.category.__name__ for one in warned if one.category is not ResourceWarning})
            if told:
                found[name]["warns"] = told
    finally:
        for client in kit.clients.values():
            await _close(client)
    return found


async def _close(client: Any) -> None:
    """supabase-py's clients have no end: their parts are closed one by one."""
    for end in ("aclose", "close"):
        if hasattr(client, end):
            ended = getattr(client, end)()
            if inspect.isawaitable(ended):
                await ended
            return
    auth = getattr(client, "auth", None)
    timer = getattr(auth, "_refresh_token_timer", None)
    if timer is not None:
        timer.cancel()
    sessions = {
        id(one): one
        for one in (
            getattr(auth, "_http_client", None),
            getattr(getattr(client, "_postgrest", None), "session", None),
            getattr(getattr(client, "_storage", None), "_client", None),
            getattr(getattr(client, "_storage", None), "session", None),
            getattr(getattr(client, "_functions", None), "_client", None),
        )
        if one is not None
    }
    for session in sessions.values():
        ended = session.aclose() if hasattr(session, "aclose") else session.close()
        if inspect.isawaitable(ended):
            await ended
    realtime = getattr(client, "realtime", None)
    if realtime is not None and getattr(realtime, "is_connected", False):
        ended = realtime.close()
        if inspect.isawaitable(ended):
            await ended
