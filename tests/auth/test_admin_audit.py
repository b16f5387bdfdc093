"""GET /admin/audit, and where entries go."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from isobase_platform.config_auth.security import AuditSettings
from tests.auth.conftest import AuthServer, StartAuth, bearer


async def entries(auth: AuthServer, **query: str) -> list[dict[str, Any]]:
    answer = await auth.client.get("/admin/audit", params=query, headers=auth.service_headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def actions(found: list[dict[str, Any]]) -> list[str]:
    return [entry["payload"]["action"] for entry in found]


async def test_the_newest_entry_comes_first_in_upstreams_shape(auth: AuthServer) -> None:
    session = await auth.sign_up(data={"full_name": "Alice"})
    await auth.refresh(session["refresh_token"])
    found = await entries(auth)
    assert actions(found) == ["token_revoked", "token_refreshed", "login", "user_signedup"]
    assert set(found[0]) == {"id", "payload", "created_at", "ip_address"}
    assert found[0]["created_at"].endswith("Z")
    assert found[-1]["payload"] == {
        "actor_id": session["user"]["id"],
        "actor_via_sso": False,
        "actor_username": "alice@example.com",
        "actor_name": "Alice",
        "action": "user_signedup",
        "log_type": "team",
        "traits": {"provider": "email"},
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("action:login", ["login", "login"]),
        ("action:LOG", ["login", "login"]),
        ("type:team", ["user_signedup", "user_signedup"]),
        ("author:bob", ["login", "user_signedup"]),
        ("author:Alice in W", ["login", "user_signedup"]),
        ("author:nobody", []),
        ("action:", ["login", "user_signedup", "login", "user_signedup"]),
    ],
)
async def test_entries_are_found_by_author_action_and_type(auth: AuthServer, query: str, expected: list[str]) -> None:
    await auth.sign_up(data={"full_name": "Alice in Wonderland"})
    await auth.sign_up("bob@example.com")
    assert actions(await entries(auth, query=query)) == expected


async def test_pages_have_the_headers_that_lead_to_the_others(auth: AuthServer) -> None:
    await auth.sign_up()
    await auth.sign_up("bob@example.com")
    answer = await auth.client.get(
        "/admin/audit", params={"per_page": "3", "query": "author:example"}, headers=auth.service_headers
    )
    assert len(answer.json()) == 3
    assert answer.headers["x-total-count"] == "4"
    assert answer.headers["link"] == (
        '</admin/audit?page=2&per_page=3&query=author%3Aexample>; rel="next", '
        '</admin/audit?page=2&per_page=3&query=author%3Aexample>; rel="last"'
    )
    assert len(await entries(auth, per_page="3", page="2")) == 1
    assert await entries(auth, page="9") == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"query": "action"}, "Invalid query scope: action"),
        ({"query": "id:1"}, "Invalid query scope: id:1"),
        ({"page": "-1"}, 'Bad Pagination Parameters: strconv.ParseUint: parsing "-1": invalid syntax'),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(auth: AuthServer, query: dict[str, str], message: str) -> None:
    answer = await auth.client.get("/admin/audit", params=query, headers=auth.service_headers)
    assert (answer.status_code, answer.json()["error_code"], answer.json()["msg"]) == (
        400,
        "validation_failed",
        message,
    )


async def test_only_administrators_read_the_log(auth: AuthServer) -> None:
    session = await auth.sign_up()
    assert (await auth.client.get("/admin/audit")).status_code == 401
    answer = await auth.client.get("/admin/audit", headers=bearer(session))
    assert (answer.status_code, answer.json()["error_code"]) == (403, "not_admin")


async def test_entries_may_go_to_the_log_alone(start_auth: StartAuth, caplog: pytest.LogCaptureFixture) -> None:
    async with start_auth(audit=AuditSettings(database_enabled=False)) as quiet, start_auth() as auth:
        with caplog.at_level(logging.INFO, "isobase.auth.audit"):
            session = await quiet.sign_up()
            assert (await quiet.refresh(session["refresh_token"])).status_code == 200
            await quiet.client.put("/user", json={"data": {"n": 1}}, headers=bearer(session))
        assert await quiet.count("audit_log_entries") == 0
        # The switch is each service's own, also where two are in one process.
        await auth.sign_up("bob@example.com")
        assert await auth.count("audit_log_entries") == 2
    logged = [record.__dict__["auth_audit_event"]["action"] for record in caplog.records]
    assert logged == ["user_signedup", "login", "token_refreshed", "token_revoked", "user_modified"]
