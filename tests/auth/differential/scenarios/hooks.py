"""Hooks that are PostgreSQL functions: what they are given, what they may answer."""

from __future__ import annotations

from tests.auth.differential.asking import PASSWORD, Asking
from tests.auth.differential.scenarios.registry import scenario

NAMES = ("custom_access_token", "password_verification_attempt", "before_user_created")
ALICE = {"email": "alice@example.com", "password": PASSWORD}
KEEPS = "jsonb_build_object('claims', event->'claims')"
GOES_ON = """'{"decision": "continue"}'::jsonb"""


def set_up(auth: Asking, **results: str) -> None:
    """The three functions; ``results``: name -> SQL expression over ``event``. The last event of each is kept."""
    auth.run("create table if not exists public.hook_events (name text primary key, event jsonb)")
    auth.run("grant all on public.hook_events to supabase_auth_admin")
    auth.run("grant usage on schema public to supabase_auth_admin")
    usual = {
        "custom_access_token": KEEPS,
        "password_verification_attempt": GOES_ON,
        "before_user_created": "'{}'::jsonb",
    }
    for name in NAMES:
        auth.run(
            f"""
            create or replace function public.{name}(event jsonb) returns jsonb language plpgsql as $$
            begin
              insert into public.hook_events values ('{name}', event)
                on conflict (name) do update set event = excluded.event;
              return {results.get(name, usual[name])};
            end $$
            """  # SQL of this test
        )
        auth.run(f"grant execute on function public.{name} to supabase_auth_admin")


def told(auth: Asking) -> None:
    """Record what the hooks were given last."""
    auth.record(
        "hook events", [[name, event] for name, event in auth.run("select * from public.hook_events order by 1")]
    )
    auth.run("delete from public.hook_events")


@scenario("hooked")
def hooks_that_agree(auth: Asking) -> None:
    set_up(auth)
    session = auth.sign_up(data={"a": 1})
    told(auth)
    auth.sign_in()
    told(auth)
    auth.sign_in(password="wrong")
    told(auth)
    auth.refresh(session.refresh_token)
    told(auth)
    auth.ask("POST", "/signup", {})
    told(auth)
    auth.admin("POST", "/admin/users", {"email": "bob@example.com"})
    told(auth)


@scenario("hooked")
def claims_that_a_hook_makes(auth: Asking) -> None:
    set_up(auth)
    auth.sign_up()
    for claims in (
        """event->'claims' || '{"plan": "gold", "role": "editor"}'""",
        "event->'claims' - 'role'",
        "event->'claims' - 'sub' - 'aud'",
        """event->'claims' || '{"exp": "soon"}'""",
        """event->'claims' || '{"app_metadata": {"roles": ["x"]}, "user_metadata": {}}'""",
        "'{}'::jsonb",
        "'[]'::jsonb",
        "'null'::jsonb",
    ):
        set_up(auth, custom_access_token=f"jsonb_build_object('claims', {claims})")
        session = auth.ask("POST", "/token?grant_type=password", ALICE, note="claims")
        auth.user(session.token)
    for result in (
        "'{}'::jsonb",
        "null::jsonb",
        """'{"error": {"http_code": 403, "message": "No."}}'::jsonb""",
        """'{"error": {"message": "No."}}'::jsonb""",
        """'{"error": {"http_code": 200, "message": "No."}}'::jsonb""",
    ):
        set_up(auth, custom_access_token=result)
        auth.ask("POST", "/token?grant_type=password", ALICE, note="claims")


@scenario("hooked")
def hooks_that_refuse(auth: Asking) -> None:
    set_up(auth)
    auth.sign_up()
    for result in (
        """'{"decision": "reject", "message": "Too often."}'::jsonb""",
        """'{"decision": "reject"}'::jsonb""",
        """'{"decision": "reject", "message": "Out.", "should_logout_user": true}'::jsonb""",
        """'{"decision": "nonsense"}'::jsonb""",
        "'{}'::jsonb",
        """'{"error": {"http_code": 429, "message": "Slowly."}}'::jsonb""",
    ):
        set_up(auth, password_verification_attempt=result)
        auth.sign_in()
        auth.sign_in(password="wrong")
        auth.ask("POST", "/token?grant_type=password", {"email": "x@example.com", "password": PASSWORD})
    for result in (
        """'{"error": {"http_code": 400, "message": "Not you."}}'::jsonb""",
        """'{"error": {"message": "Not you."}}'::jsonb""",
        """'{"decision": "reject"}'::jsonb""",
    ):
        set_up(auth, before_user_created=result)
        auth.sign_up("bob@example.com")
        auth.ask("POST", "/signup", {})
        auth.ask("POST", "/otp", {"email": "carol@example.com"})
        auth.admin("POST", "/admin/users", {"email": "dave@example.com"})
        auth.fresh()
