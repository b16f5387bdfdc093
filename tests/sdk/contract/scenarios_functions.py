"""Calls of functions, which answer from a small server of their own: Isobase runs none."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.sdk.contract.kit import Call, Kit, Scenario, scenario

__all__ = ["SCENARIOS"]

# What a client says of itself, or what differs with the port.
_OWN = frozenset({"host", "user-agent", "x-client-info", "accept", "accept-encoding", "connection", "content-length"})


def functions(kit: Kit) -> Any:
    return kit.client("functions", kit.place.anon_key, kit.place.functions_url).functions


def invoke(name: Any, options: Any = None) -> Call:
    return lambda kit: functions(kit).invoke(name, options)


def heard(kit: Kit, call: str) -> Any:
    """What the function saw of a call, without what a client says of itself."""
    seen = dict(kit.seen[call])
    seen["headers"] = {name: value for name, value in seen["headers"].items() if name not in _OWN}
    return seen


INVOKED: dict[str, Any] = {
    "plain": {"responseType": "json"},
    "dict": {"body": {"a": 1, "ü": None}, "responseType": "json"},
    "text": {"body": "hello", "responseType": "json"},
    "list": {"body": [1, 2], "responseType": "json"},
    "get": {"method": "GET", "responseType": "json"},
    "put": {"method": "PUT", "body": {"a": 1}, "responseType": "json"},
    "headers": {"headers": {"X-Own": "1", "Authorization": "Bearer x"}, "responseType": "json"},
    "content type": {"headers": {"Content-Type": "text/csv"}, "body": "a,b", "responseType": "json"},
}

CALLS: dict[str, Call] = {
    **{name: invoke("echo", options) for name, options in INVOKED.items()},
    **{f"{name}, heard": partial(heard, call=name) for name in INVOKED},
    "bytes without a type": invoke("bytes"),
    "bytes as json": invoke("bytes", {"responseType": "json"}),
    "query": invoke("echo?a=1&b=x%20y#part", {"responseType": "json"}),
    "query, heard": lambda k: heard(k, "query"),
    "a region": lambda k: functions(k).invoke(
        "echo", {"region": k.module("supabase_functions").FunctionRegion("us-east-1"), "responseType": "json"}
    ),
    "a region, heard": lambda k: heard(k, "a region"),
    "a region as text": invoke("echo", {"region": "us-east-1", "responseType": "json"}),
    "no such region": invoke("echo", {"region": "nowhere"}),
    "refused with json": invoke("fails"),
    "refused with words": invoke("fails-in-words"),
    "refused with nothing": invoke("fails-silently"),
    "relay": invoke("relay"),
    "no name": invoke(""),
    "a number": invoke(5),
    "only a fragment": invoke("#part"),
    "wrong method": invoke("echo", {"method": "JUMP"}),
    "what is no JSON": invoke("echo", {"body": {"a": object()}}),
    "set auth": lambda k: functions(k).set_auth("other"),
    "after set auth": invoke("echo", {"responseType": "json"}),
    "after set auth, heard": lambda k: heard(k, "after set auth"),
    "nobody there": lambda k: k.client("nobody", k.place.anon_key, "http://127.0.0.1:9").functions.invoke("echo"),
    "no functions": lambda k: k.anon.functions.invoke("echo"),
    "client": lambda k: type(functions(k)).__name__,
}

SCENARIOS: tuple[Scenario, ...] = (scenario("functions.invoke", CALLS),)
