"""One question asked at the door as many callers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from isobase_platform.caller import Caller, Claims, RequestFacts
from isobase_platform.config import Settings
from isobase_platform.errors import DatabaseError
from isobase_platform.rls import Answer
from isobase_platform.runtime import Platform

WHO = (
    "select current_user || ' ' || (current_setting('request.jwt.claims')::json->>'sub') || ' ' ||"
    " (current_setting('request.headers')::json->>'x-a')"
)
SCHEMA = """
create table public.desks (id integer primary key, sub text not null);
insert into public.desks select number, 'user ' || number from generate_series(1, 5) as number;
alter table public.desks enable row level security;
create policy "own" on public.desks for select using (sub = auth.jwt() ->> 'sub');
grant select, insert on public.desks to anon, authenticated;
create function public.leave_and_see() returns text language plpgsql as $$
declare seen text := coalesce(current_setting('app.left', true), '') || coalesce(current_setting('app.stays', true), '');
begin
  perform set_config('app.left', 'left', true);
  perform set_config('app.stays', 'stays', false);
  return 'seen: ' || seen;
end $$;
create function public.raise_for_some() returns text language plpgsql as $$
begin
  if auth.jwt() ->> 'sub' = 'user 2' then raise exception 'not for you' using errcode = 'P0042'; end if;
  if auth.jwt() ->> 'sub' = 'user 3' then assert false; end if;
  return 'for you';
end $$;
create function public.run(command text) returns text language plpgsql as $$ begin execute command; return 'ran'; end $$;
"""


def user(number: int, role: str = "authenticated") -> Caller:
    claims = Claims.from_payload({"sub": f"user {number}", "role": role})
    return Caller(role, claims, RequestFacts("GET", "/", f'{{"x-a":"{number}"}}', "{}"))


@pytest.fixture
async def platform(database: Settings) -> AsyncIterator[Platform]:
    settings = database.model_copy(update={"database": database.database.model_copy(update={"pool_max_size": 1})})
    connection = await asyncpg.connect(settings.dsn())
    await connection.execute(SCHEMA)
    await connection.close()
    async with Platform.open(settings) as opened:
        yield opened


def texts(answers: Sequence[Answer]) -> list[str | None]:
    assert [one.error for one in answers] == [None] * len(answers)
    return [one.text for one in answers]


async def test_each_caller_is_asked_with_its_own_role_claims_and_request(platform: Platform) -> None:
    callers = [user(number) for number in (3, 1, 2)]
    expected = [f"authenticated user {number} {number}" for number in (3, 1, 2)]
    assert texts(await platform.door.ask_for_each(callers, WHO, ())) == expected
    assert texts(await platform.door.ask_for_each([user(7, "anon")], WHO, ())) == ["anon user 7 7"]
    assert await platform.door.ask_for_each([], WHO, ()) == []
    async with platform.door.transaction(user(9)) as connection:
        assert await connection.fetchval(WHO) == "authenticated user 9 9"


async def test_each_caller_sees_its_own_rows(platform: Platform) -> None:
    question = "select string_agg(d.id::text, ',') from public.desks as d where d.id = any ($1::integer[])"
    callers = [user(number) for number in range(1, 7)]
    for _ in range(8):  # beyond the five times after which PostgreSQL may keep a plan
        answers = await platform.door.ask_for_each(callers, question, ["{1,2,4,5}"])
        assert texts(answers) == ["1", "2", None, "4", "5", None]


async def test_nothing_that_one_caller_leaves_reaches_the_next(platform: Platform) -> None:
    callers = [user(number) for number in range(3)]
    for _ in range(2):
        assert texts(await platform.door.ask_for_each(callers, "select public.leave_and_see()", ())) == ["seen: "] * 3


async def test_an_error_is_the_answer_of_the_caller_who_met_it(platform: Platform) -> None:
    callers = [user(number) for number in range(1, 5)]
    answers = await platform.door.ask_for_each(callers, "select public.raise_for_some()", ())
    assert [one.text for one in answers] == ["for you", None, None, "for you"]
    errors = [one.error for one in answers if one.error is not None]
    assert [(error.sqlstate, error.message) for error in errors] == [
        ("P0042", "not for you"),
        ("P0004", "assertion failed"),
    ]


async def test_parameters_travel_as_they_are(platform: Platform) -> None:
    values = ["", "it's", 'a "quote"', "back\\slash", "{1,2}", "NULL", None, "$1 %s %I"]
    question = "select " + " || '|' || ".join(f"coalesce(${n}::text, 'none')" for n in range(1, len(values) + 1))
    answers = await platform.door.ask_for_each([user(1)], question, values)
    assert texts(answers) == ["|".join("none" if value is None else value for value in values)]


async def test_a_question_may_not_write(platform: Platform) -> None:
    question = "with made as (insert into public.desks values (9, 'x') returning 1) select count(*)::text from made"
    [answer] = await platform.door.ask_for_each([user(1)], question, ())
    assert answer.error is not None
    assert answer.error.sqlstate == "25006"


async def test_a_statement_that_somebody_put_in_the_questions_place_is_not_asked(platform: Platform) -> None:
    question = "select coalesce(string_agg(d.sub, ','), 'none') from public.desks as d"
    assert texts(await platform.door.ask_for_each([user(1)], question, ())) == ["user 1"]
    async with platform.door.transaction(user(2)) as connection:
        name = await connection.fetchval("select name from pg_prepared_statements where name like 'isobase_question_%'")
        await connection.execute(f"select public.run('deallocate {name}')")
        await connection.execute(f"select public.run('prepare {name} as select ''everything''')")
    assert texts(await platform.door.ask_for_each([user(1)], question, ())) == ["user 1"]


async def test_a_session_keeps_a_bounded_number_of_questions(platform: Platform) -> None:
    for number in range(70):
        assert texts(await platform.door.ask_for_each([user(1)], f"select '{number}'::text", ())) == [str(number)]
    async with platform.door.transaction(user(2)) as connection:
        kept = await connection.fetchval(
            "select count(*) from pg_prepared_statements where name like 'isobase_question_%'"
        )
    assert 0 < kept <= 64


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_users_may_not_call_the_function_themselves(platform: Platform, role: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        async with platform.door.transaction(user(1, role)) as connection:
            await connection.execute(
                "select isobase.ask_for_each('service_role', '{}', '{}', 1, 'a', 'select 1', '{}')"
            )
    assert caught.value.sqlstate == "42501"


async def test_a_question_that_cannot_be_prepared_is_refused_as_a_whole(platform: Platform) -> None:
    with pytest.raises(DatabaseError) as caught:
        await platform.door.ask_for_each([user(1)], "select no_such_column", ())
    assert caught.value.sqlstate == "42703"
    [answer] = await platform.door.ask_for_each([user(1)], "select id::text from auth.users", ())
    assert answer.error is not None
    assert answer.error.sqlstate == "42501"
    assert texts(await platform.door.ask_for_each([user(1)], "select auth.jwt() ->> 'sub'", ())) == ["user 1"]


async def test_callers_of_one_question_have_one_role(platform: Platform) -> None:
    with pytest.raises(ValueError, match="one role"):
        await platform.door.ask_for_each([user(1), user(2, "anon")], WHO, ())
