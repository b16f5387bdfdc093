"""Preferences, routes and methods, and who asks."""

from __future__ import annotations

from isobase_platform.caller import ANON_ROLE, AUTHENTICATED_ROLE
from tests.database.differential.cases.case import ALL, Case

__all__ = ["AUTH", "PREFER", "ROUTES"]

PREFER = [
    Case(f"prefer {value} {method}", path, method, {"Prefer": value}, body)
    for method, path, body in (
        ("GET", "/projects?order=id", None),
        ("POST", "/clients", {"name": "P"}),
        ("PATCH", "/clients?id=eq.1", {"name": "P"}),
        ("DELETE", "/tasks?id=eq.1", None),
        ("POST", "/rpc/get_projects", {}),
    )
    for value in (
        "return=representation, count=exact, handling=lenient",
        "handling=strict, nonsense",
        "handling=strict, timezone=nowhere",
        "timezone=nowhere",
        "timezone=America/Los_Angeles",
        "handling=strict, timezone=America/Los_Angeles, return=minimal",
        "tx=rollback",
        "count=none",
        "return=minimal, return=representation",
        "missing=default, resolution=merge-duplicates",
    )
] + [
    Case("prefer time zone shows", "/kinds?select=at&order=id", headers={"Prefer": "timezone=America/Los_Angeles"}),
    *[
        Case(
            f"max-affected {method} {prefer}",
            path,
            method,
            {"Prefer": prefer},
            body,
            newer=ALL,
            status=status,
            code=code,
        )
        for method, path, body, prefer, status, code in (
            ("PATCH", "/clients", {"name": "x"}, "handling=strict, max-affected=1", 400, "PGRST124"),
            ("PATCH", "/clients?id=eq.1", {"name": "x"}, "handling=strict, max-affected=1", 204, None),
            ("PATCH", "/clients", {"name": "x"}, "max-affected=1", 204, None),
            ("DELETE", "/tasks", None, "handling=strict, max-affected=2", 400, "PGRST124"),
        )
    ],
]

ROUTES = [
    Case("options table", "/projects", "OPTIONS"),
    Case("options view", "/client_names", "OPTIONS"),
    Case("options join view", "/busy_projects", "OPTIONS"),
    Case("options keyless", "/keyless", "OPTIONS"),
    Case("options unknown", "/nosuch", "OPTIONS", newer=frozenset({"body", "headers"}), status=404, code="PGRST205"),
    Case("options function", "/rpc/greet", "OPTIONS"),
    Case("options volatile function", "/rpc/nothing", "OPTIONS"),
    Case("options function with arguments", "/rpc/add", "OPTIONS"),
    Case("options root", "/", "OPTIONS"),
    Case("unknown method", "/projects", "TRACE"),
    Case("root post", "/", "POST", body={}, newer=ALL, status=405, code="PGRST117"),
    Case("deep path", "/a/b", newer=ALL, status=404, code="PGRST125"),
    Case("deep rpc path", "/rpc/add/x", newer=ALL, status=404, code="PGRST125"),
    Case("bare rpc", "/rpc", newer=ALL, status=404, code="PGRST205"),
    Case("unknown table", "/nosuch", newer=ALL, status=404, code="PGRST205"),
    Case("a near table", "/project", newer=ALL, status=404, code="PGRST205"),
    Case("hidden table", "/auth.users", newer=ALL, status=404, code="PGRST205"),
    Case("root accept csv", "/", headers={"Accept": "text/csv"}),
]

AUTH = [
    Case("anon read", "/projects?order=id", role=None),
    Case("anon token", "/projects?order=id", role=ANON_ROLE),
    Case("anon refused", "/locked", role=None),
    Case("anon token refused", "/locked", role=ANON_ROLE),
    Case("user refused", "/locked", role=AUTHENTICATED_ROLE),
    Case("user's own rows", "/owned?order=id", role=AUTHENTICATED_ROLE),
    Case("anon's own rows", "/owned?order=id", role=None),
    Case("service's rows", "/owned?order=id"),
    Case("unknown role", "/projects", role="nosuch_role", newer=frozenset({"status", "headers"}), status=401),
    Case("unreachable role", "/projects", role="supabase_admin"),
    Case("login role", "/projects?limit=1", role="authenticator"),
    Case("basic", "/projects?order=id", role=None, headers={"Authorization": "Basic eDp5"}),
    Case("no scheme", "/projects?order=id", role=None, headers={"Authorization": "token"}),
    Case(
        "lower case bearer",
        "/projects?order=id",
        role=None,
        headers={"Authorization": "bearer nonsense"},
        newer=frozenset({"body", "headers"}),
        status=401,
        code="PGRST301",
    ),
    Case(
        "nonsense",
        "/projects",
        role=None,
        headers={"Authorization": "Bearer nonsense"},
        newer=frozenset({"body", "headers"}),
        status=401,
        code="PGRST301",
    ),
    Case(
        "broken signature",
        "/projects",
        role=None,
        headers={"Authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.AAAA"},
        newer=frozenset({"body", "headers"}),
        status=401,
        code="PGRST301",
    ),
    Case(
        "unsigned",
        "/projects",
        role=None,
        headers={"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoic2VydmljZV9yb2xlIn0."},
        newer=frozenset({"body", "headers"}),
        status=401,
        code="PGRST301",
    ),
]
