"""``Idempotency-Key``: a write that is sent again happens once, and is answered as the first time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any
from uuid import uuid4

import httpx
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isobase_platform.config import RestSettings
from isobase_services.database import idempotency
from tests.database.rest.conftest import ALICE, DATABASE_NAME, RELOAD_TIMEOUT_S, Api, refusal

REPRESENTATION = "return=representation"
ROLES = ("anon", "authenticated", "service_role", "authenticator", "postgres", "supabase_auth_admin")


@pytest.fixture(autouse=True)
def patient_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a write wait long for another of its key: a test that is about the end of that wait sets its own."""
    monkeypatch.setattr(idempotency, "MAX_WAIT_S", 60.0)


def keyed(key: str) -> dict[str, str]:
    return {"idempotency-key": key}


def send(api: Api, key: str, method: str = "POST", path: str = "/tasks", **given: Any) -> httpx.Response:
    headers = {**given.pop("headers", {}), **keyed(key)}
    return api.call(method, path, headers=headers, **given)


def until(condition: Callable[[], bool]) -> None:
    """Wait until the schema cache is as the database."""
    deadline = time.monotonic() + RELOAD_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tasks(api: Api) -> list[object]:
    return [name for (name,) in api.rows("select name from public.tasks order by id")]


def same(first: httpx.Response, second: httpx.Response) -> bool:
    """Whether the second answer is the first, told as sent again."""
    passing = {"date", "x-request-id", "server", "idempotency-replayed"}
    kept = [{n: v for n, v in one.headers.items() if n not in passing} for one in (first, second)]
    assert second.headers.get("idempotency-replayed") == "true", second.text
    assert "idempotency-replayed" not in first.headers
    return first.status_code == second.status_code and first.content == second.content and kept[0] == kept[1]


@pytest.mark.parametrize(
    ("method", "path", "given"),
    [
        ("POST", "/tasks", {"json": {"name": "new"}, "prefer": REPRESENTATION}),
        ("POST", "/tasks", {"json": {"name": "new"}}),
        ("POST", "/tasks", {"json": {"name": "new"}, "prefer": "return=headers-only, count=exact"}),
        (
            "POST",
            "/tasks?select=id,people!tasks_lead(name)",
            {"json": [{"name": "a", "lead_id": 1}, {"name": "b", "lead_id": 2}]},
        ),
        ("POST", "/people?on_conflict=id", {"json": {"id": 1, "name": "An"}, "prefer": "resolution=merge-duplicates"}),
        ("POST", "/tasks", {"content": "name\nx\n", "headers": {"content-type": "text/csv"}}),
        ("PATCH", "/tasks?name=eq.dig", {"json": {"name": "dug"}, "prefer": REPRESENTATION}),
        ("PATCH", "/tasks?name=eq.dig", {"json": {"name": "dug"}, "prefer": "count=exact"}),
        ("PUT", "/people?id=eq.9", {"json": {"id": 9, "name": "Neun"}, "prefer": REPRESENTATION}),
        ("DELETE", "/tasks?name=eq.dig", {"prefer": REPRESENTATION}),
        ("DELETE", "/tasks?name=eq.dig", {}),
        ("POST", "/rpc/add_task", {"json": {"name": "called"}}),
        ("POST", "/rpc/answer_oddly", {"json": {}}),
    ],
)
def test_a_write_that_is_sent_again_is_done_once_and_answered_as_the_first_time(
    functions: Api, method: str, path: str, given: dict[str, Any]
) -> None:
    key = str(uuid4())
    first = send(functions, key, method, path, **dict(given))
    assert first.status_code < 400 or first.status_code == 418, first.text
    state = functions.rows("select (select json_agg(t) from tasks t)::text, (select json_agg(p) from people p)::text")
    for _ in range(2):
        assert same(first, send(functions, key, method, path, **dict(given)))
    after = functions.rows("select (select json_agg(t) from tasks t)::text, (select json_agg(p) from people p)::text")
    assert after == state


@pytest.fixture
def functions(api: Api) -> Api:
    api.rows(
        """
        create or replace function public.add_task(name text) returns int language sql as
          $$insert into public.tasks (name) values (name) returning id$$;
        create or replace function public.answer_oddly() returns json language plpgsql as $$
        begin
          insert into public.tasks (name) values ('odd');
          perform set_config('response.status', '418', true),
                  set_config('response.headers', '[{"X-Kettle": "short"}, {"X-Kettle": "stout"}]', true);
          return '{"i": "am"}';
        end $$;
        create or replace function public.look() returns int stable language sql as 'select 7';
        grant execute on function public.add_task(text), public.answer_oddly(), public.look() to anon, authenticated;
        select pg_notify('pgrst', 'reload schema')
        """
    )
    until(lambda: api.call("POST", "/rpc/look", json={}).status_code == 200)
    return api


def test_another_key_is_another_write_and_none_is_one_each_time(api: Api) -> None:
    for key in (str(uuid4()), str(uuid4())):
        assert send(api, key, json={"name": "x"}).status_code == 201
    for _ in range(2):
        assert "idempotency-replayed" not in api.call("POST", "/tasks", json={"name": "x"}).headers
    assert tasks(api).count("x") == 4


def test_a_quoted_key_is_the_key_between_the_quotes(api: Api) -> None:
    key = str(uuid4())
    first = send(api, f'"{key}"', json={"name": "x"}, prefer=REPRESENTATION)
    assert same(first, send(api, key, json={"name": "x"}, prefer=REPRESENTATION))


@pytest.mark.parametrize(
    "change",
    [
        {"json": {"name": "y"}},
        {"path": "/tasks?select=id"},
        {"method": "PATCH", "path": "/tasks?id=eq.1"},
        {"prefer": "return=minimal"},
        {"headers": {"accept": "text/csv"}},
    ],
)
def test_a_key_belongs_to_one_request(api: Api, change: dict[str, Any]) -> None:
    key = str(uuid4())
    request: dict[str, Any] = {"json": {"name": "x"}, "prefer": REPRESENTATION}
    assert send(api, key, **request).status_code == 201
    assert refusal(send(api, key, **{**request, **change})) == (422, "idempotency_key_reused")
    assert tasks(api).count("x") == 1
    assert tasks(api)[0] == "dig"


@pytest.mark.parametrize("key", ["", '" "', '""', "k" * 256, "caf\xe9-and-sixteen-more", '"a\tb"'])
def test_a_key_that_cannot_be_used_is_refused_and_nothing_is_written(api: Api, key: str) -> None:
    answer = api.call("POST", "/tasks", json={"name": "x"}, headers={b"idempotency-key": key.encode("latin-1")})
    assert refusal(answer) == (400, "idempotency_key_invalid")
    assert "x" not in tasks(api)


def test_a_write_that_failed_leaves_nothing_and_may_be_tried_again(api: Api) -> None:
    key = str(uuid4())
    new = {"id": 1, "name": "Ann the second"}
    for _ in range(2):
        assert refusal(send(api, key, path="/people", json=new)) == (409, "23505")
    api.rows("truncate public.people cascade")
    answer = send(api, key, path="/people", json=new)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)


def test_what_the_request_itself_forbids_is_not_kept(api: Api) -> None:
    key = str(uuid4())
    headers = {"accept": "application/vnd.pgrst.object+json"}
    for _ in range(2):
        answer = send(api, key, "PATCH", "/tasks", json={"name": "all"}, prefer=REPRESENTATION, headers=headers)
        assert refusal(answer) == (406, "PGRST116")
    assert "all" not in tasks(api)


@pytest.mark.parametrize("change", ["drop table fleeting", "alter table fleeting rename column name to title"])
def test_the_kept_answer_is_given_also_when_the_table_or_a_column_is_gone_meanwhile(api: Api, change: str) -> None:
    api.rows(
        "create table public.fleeting (name text); grant all on public.fleeting to service_role, authenticated;"
        "notify pgrst, 'reload schema'"
    )
    try:
        key, body = str(uuid4()), {"name": "kept"}
        until(lambda: api.get("/fleeting").status_code == 200)
        first = send(api, key, path="/fleeting", json=body, prefer=REPRESENTATION)
        assert first.json() == [body]
        api.rows(f"{change}; notify pgrst, 'reload schema'")
        until(lambda: api.call("POST", "/fleeting?columns=name", json=body).json()["code"].startswith("PGRST"))
        assert same(first, send(api, key, path="/fleeting", json=body, prefer=REPRESENTATION))
        assert send(api, key, path="/fleeting", json={"name": "other"}).status_code in {400, 404}
        assert send(api, str(uuid4()), path="/fleeting", json=body).status_code in {400, 404}
        stranger = send(api, key, path="/fleeting", json=body, prefer=REPRESENTATION, who=api.alice)
        assert stranger.status_code in {400, 404}
        assert send(api, "short", path="/fleeting", json=body, who=api.user("")).status_code in {400, 404}
    finally:
        api.rows("drop table if exists public.fleeting; notify pgrst, 'reload schema'")
        until(lambda: api.get("/fleeting").json().get("code") == "PGRST205")


def test_what_is_rolled_back_by_preference_is_run_each_time(api: Api) -> None:
    key = str(uuid4())
    for _ in range(2):
        answer = send(api, key, json={"name": "x"}, prefer="tx=rollback")
        assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)
    assert "x" not in tasks(api)
    assert send(api, key, json={"name": "x"}).status_code == 201


def test_a_deferred_trigger_runs_with_the_callers_rights(api: Api) -> None:
    api.rows(
        "create table public.trigger_notes (who text, role text);"
        " grant insert on public.trigger_notes to service_role;"
        " create function public.note_task() returns trigger language plpgsql as"
        " $$begin insert into public.trigger_notes values (current_user, current_setting('role')); return null; end$$;"
        " create constraint trigger noted after insert on public.tasks deferrable initially deferred"
        " for each row execute function public.note_task(); select 1"
    )
    try:
        assert send(api, str(uuid4()), json={"name": "noted"}).status_code == 201
        assert api.rows("select who, role from public.trigger_notes") == [("service_role", "service_role")]
    finally:
        api.rows(
            "drop trigger noted on public.tasks; drop function public.note_task(); drop table public.trigger_notes; select 1"
        )


def test_reads_take_no_notice_of_the_header(functions: Api) -> None:
    api, key = functions, str(uuid4())
    for _ in range(2):
        assert api.get("/tasks", headers=keyed(key)).status_code == 200
        answer = send(api, key, path="/rpc/look", json={})
        assert (answer.json(), "idempotency-replayed" in answer.headers) == (7, False)
    assert api.get("/tasks", headers={b"idempotency-key": b"caf\xe9"}).status_code == 200


def test_the_owner_gets_the_kept_answer_and_a_stranger_does_not(api: Api) -> None:
    key = str(uuid4())
    new = {"title": "mine", "is_public": False}
    first = send(api, key, path="/notes", json=new, who=api.alice, prefer=REPRESENTATION)
    assert first.json()[0]["owner"] == ALICE
    assert same(first, send(api, key, path="/notes", json=new, who=api.alice, prefer=REPRESENTATION))
    of_bob = send(api, key, path="/notes", json=new, who=api.bob, prefer=REPRESENTATION)
    assert "idempotency-replayed" not in of_bob.headers
    assert of_bob.json()[0]["owner"] != ALICE
    of_anon = send(api, key, path="/notes", json=new, who={}, prefer=REPRESENTATION)
    assert refusal(of_anon) == (401, "42501")
    of_service = send(api, key, path="/notes", json={**new, "owner": None}, prefer=REPRESENTATION)
    assert (of_service.status_code, "idempotency-replayed" in of_service.headers) == (201, False)


def test_a_new_token_of_the_same_user_finds_the_kept_answer(api: Api) -> None:
    key = str(uuid4())
    one, other = (
        {"authorization": f"Bearer {api.token(role='authenticated', sub=ALICE, session_id=session, iat=at)}"}
        for session, at in (("a", 1), ("b", 2))
    )
    first = send(api, key, path="/notes", json={"title": "t"}, who=one)
    assert same(first, send(api, key, path="/notes", json={"title": "t"}, who=other))


def test_tokens_that_name_their_users_by_a_claim_of_their_own_do_not_share_keys(api: Api) -> None:
    key = str(uuid4())
    for uid in ("u1", "u2"):
        who = {"authorization": f"Bearer {api.token(role='service_role', uid=uid)}"}
        answer = send(api, key, json={"name": uid}, who=who)
        assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)
    assert tasks(api)[-2:] == ["u1", "u2"]


def test_callers_who_cannot_be_told_apart_need_keys_that_cannot_be_guessed(functions: Api) -> None:
    short = send(functions, "1", path="/rpc/add_task", json={"name": "x"}, who={})
    assert refusal(short) == (400, "idempotency_key_invalid")
    assert send(functions, "1", json={"name": "x"}).status_code == 201  # service_role trusts itself
    assert send(functions, "1", path="/notes", json={"title": "t"}, who=functions.alice).status_code == 201


@pytest.mark.parametrize("role", ROLES)
def test_no_role_of_a_user_can_read_or_write_kept_answers(api: Api, role: str) -> None:
    send(api, str(uuid4()), json={"name": "x"})
    may_call = role in {"authenticator", "postgres"}  # postgres, who runs migrations, is a member of the login role
    calls = {
        "select key from isobase.idempotency_keys": True,
        "delete from isobase.idempotency_keys": True,
        "select isobase.claim_idempotency_key('\\x00', 1)": not may_call,
        "select isobase.keep_idempotent_answer('\\x00', '', 200::smallint, '[]', null, 1)": not may_call,
    }
    with psycopg2.connect(api.database.dsn(DATABASE_NAME)) as connection, connection.cursor() as cursor:
        for sql, is_refused in calls.items():
            cursor.execute(f"set local role {role}")
            if is_refused:
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(sql)
            else:
                cursor.execute(sql)
            connection.rollback()
    connection.close()


def test_what_is_kept_of_a_key_tells_neither_key_nor_caller(api: Api) -> None:
    key = str(uuid4())
    send(api, key, path="/notes", json={"title": "t"}, who=api.alice)
    rows = api.rows("select k::text, encode(k.key, 'escape') from isobase.idempotency_keys k")
    assert rows
    assert not [row for row in rows if key in str(row) or ALICE in str(row)]


def test_an_answer_too_large_to_keep_is_told_as_done(api: Api) -> None:
    key = str(uuid4())
    limit = RestSettings().idempotency_max_answer_bytes
    request: dict[str, Any] = {
        "path": "/rpc/much",
        "json": {},
    }
    api.rows(
        "create or replace function public.much() returns text language plpgsql as $$ begin"
        f" insert into public.tasks (name) values ('much'); return repeat('x', {limit}); end $$;"
        " select pg_notify('pgrst', 'reload schema')"
    )
    deadline_s = time.monotonic() + RELOAD_TIMEOUT_S
    while (first := send(api, key, **request)).status_code == 404 and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert len(first.text) == limit + 2
    second = send(api, key, **request)
    assert refusal(second) == (409, "idempotency_answer_not_kept")
    assert second.json()["details"] == "It was answered with status 200."
    assert tasks(api).count("much") == 1


def test_an_expired_key_is_a_new_one(api: Api) -> None:
    key = str(uuid4())
    for _ in range(2):
        answer = send(api, key, json={"name": "x"})
        assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)
        api.rows("update isobase.idempotency_keys set expires_at = now() - interval '1 s'")
    assert tasks(api).count("x") == 2
    assert same(send(api, key, json={"name": "x"}), send(api, key, json={"name": "x"}))


def test_twenty_at_once_write_one_row_and_get_one_answer(api: Api) -> None:
    key, together = str(uuid4()), threading.Barrier(20)

    def write(_: int) -> tuple[int, bytes, bool]:
        together.wait()
        answer = send(api, key, json={"name": "once"}, prefer=REPRESENTATION)
        return answer.status_code, answer.content, "idempotency-replayed" in answer.headers

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(write, range(20)))
    assert {answer[:2] for answer in answers} == {(201, answers[0][1])}
    assert sum(not is_replayed for _, _, is_replayed in answers) == 1
    assert tasks(api).count("once") == 1


def test_two_processes_write_one_row(api: Api, open_api: Api) -> None:
    """The second server knows nothing of the first one's requests: the database alone decides."""
    for _ in range(10):
        key, together = str(uuid4()), threading.Barrier(8)

        def write(one: Api, key: str = key, together: threading.Barrier = together) -> tuple[int, bytes]:
            together.wait()
            answer = send(one, key, json={"name": key}, prefer=REPRESENTATION)
            return answer.status_code, answer.content

        with ThreadPoolExecutor(8) as threads:
            answers = set(threads.map(write, [api, open_api] * 4))
        assert len(answers) == 1
        assert {status for status, _ in answers} == {201}
        assert tasks(api).count(key) == 1


def test_while_the_write_is_being_done_another_waits_and_in_the_end_is_told_so(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "MAX_WAIT_S", 0.5)
    key = str(uuid4())
    with psycopg2.connect(api.database.dsn(DATABASE_NAME)) as connection, connection.cursor() as cursor:
        cursor.execute("lock table public.tasks in access exclusive mode")
        with ThreadPoolExecutor(2) as threads:
            writes = [threads.submit(send, api, key, json={"name": "slow"}) for _ in range(2)]
            wait(writes, return_when=FIRST_COMPLETED)
            connection.rollback()
        answers = sorted((write.result() for write in writes), key=lambda answer: answer.status_code)
    connection.close()
    assert answers[0].status_code == 201
    assert refusal(answers[1]) == (409, "idempotency_key_in_use")
    assert same(answers[0], send(api, key, json={"name": "slow"}))


def test_a_function_that_reads_from_an_old_snapshot_is_called_once_too(functions: Api, open_api: Api) -> None:
    functions.rows(
        "alter function public.add_task(text) set default_transaction_isolation = 'repeatable read';"
        " select pg_notify('pgrst', 'reload schema')"
    )
    for _ in range(5):
        key, together = str(uuid4()), threading.Barrier(6)

        def write(one: Api, key: str = key, together: threading.Barrier = together) -> tuple[int, bytes]:
            together.wait()
            answer = send(one, key, path="/rpc/add_task", json={"name": key})
            return answer.status_code, answer.content

        with ThreadPoolExecutor(6) as threads:
            answers = set(threads.map(write, [functions, open_api] * 3))
        assert [status for status, _ in answers] == [200]
        assert tasks(functions).count(key) == 1


def test_browsers_may_send_the_header_and_read_what_comes_of_it(api: Api) -> None:
    asked = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "idempotency-key,content-type",
    }
    preflight = api.http.request("OPTIONS", "/tasks", headers=asked)
    assert "idempotency-key" in preflight.headers["access-control-allow-headers"]
    answer = send(api, str(uuid4()), json={"name": "x"}, headers={"origin": "https://app.example"})
    assert "Idempotency-Replayed" in answer.headers["access-control-expose-headers"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.text("abcé\"\\\U0001f600 ,'", max_size=8), min_size=1, max_size=4),
    prefer=st.sampled_from(["return=representation", "return=minimal", "return=headers-only", "missing=default"]),
    counted=st.booleans(),
    accept=st.sampled_from(["application/json", "text/csv", "application/vnd.pgrst.object+json", "*/*"]),
    select=st.sampled_from(["", "?select=id,name", "?select=name,people!tasks_lead(name)", "?columns=name"]),
    key=st.text("abcdefghijklmnop-_.~!#$%&'()*+/:;<=>?@[]^`{|}", min_size=16, max_size=255),
)
def test_whatever_the_shape_the_second_answer_is_the_first(
    api: Api, rows: list[str], prefer: str, counted: bool, accept: str, select: str, key: str
) -> None:
    api.rows("delete from isobase.idempotency_keys")
    before = len(tasks(api))
    request: dict[str, Any] = {
        "path": f"/tasks{select}",
        "json": [{"name": name} for name in rows],
        "prefer": f"{prefer}, count=exact" if counted else prefer,
        "headers": {"accept": accept},
    }
    first, second = send(api, key, **request), send(api, key, **request)
    if first.status_code >= 400:
        assert (second.status_code, second.content) == (first.status_code, first.content)
        assert len(tasks(api)) == before
    else:
        assert same(first, second)
        assert len(tasks(api)) == before + len(rows)
