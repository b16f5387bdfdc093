"""Bugs to plant on one side: how, how to mend them, which cutover they must stop, and what must be named."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFINITIONS", "ROWS", "USERS", "Plant"]

ISOBASE, SUPABASE = "isobase", "supabase"


@dataclass(slots=True, frozen=True)
class Plant:
    """One of them. ``pattern``: whose cutover it stops; ``said``: what ``status`` says, from its beginning.

    ``spared``: a pattern whose cutover it does not stop.
    """

    name: str
    planted: str
    mended: str
    pattern: str
    said: str
    at: str = ISOBASE
    spared: str = ""

    @property
    def subject(self) -> str:
        """Kind and name of the definition."""
        return (
            self.said.removesuffix(" is missing at isobase")
            .removesuffix(" is at isobase only")
            .removesuffix(" differs")
        )


DEFINITIONS = (
    Plant(
        "a dropped trigger",
        "drop trigger orders_audit on public.orders",
        "create trigger orders_audit after insert or update or delete on public.orders"
        " for each row execute function private.audit_orders()",
        "table:public.*",
        "trigger public.orders.orders_audit is missing at isobase",
        spared="table:public.notes",
    ),
    Plant(
        "a disabled trigger",
        "alter table public.notes disable trigger notes_updated_at",
        "alter table public.notes enable trigger notes_updated_at",
        "table:public.notes",
        "trigger public.notes.notes_updated_at differs",
    ),
    Plant(
        "another default",
        "alter table public.notes alter stars set default 3",
        "alter table public.notes alter stars set default 0",
        "table:public.notes",
        "column public.notes.stars differs",
        spared="table:shop.*",
    ),
    Plant(
        "a default by a clock of another kind",
        "alter table public.notes alter created_at set default now()",
        "alter table public.notes alter created_at set default clock_timestamp()",
        "table:public.notes",
        "column public.notes.created_at differs",
    ),
    Plant(
        "a missing policy",
        'drop policy "Everybody sees the stock" on shop.stock',
        'create policy "Everybody sees the stock" on shop.stock for select to anon, authenticated using (true)',
        "table:shop.stock",
        "policy shop.stock.Everybody sees the stock is missing at isobase",
    ),
    Plant(
        "no row level security",
        "alter table shop.stock disable row level security",
        "alter table shop.stock enable row level security",
        "table:shop.*",
        "row level security shop.stock is missing at isobase",
    ),
    Plant(
        "a missing unique constraint",
        "alter table public.orders add constraint one_each unique (owner_id, created_at)",
        "alter table public.orders drop constraint one_each",
        "table:public.*",
        "constraint public.orders.one_each is missing at isobase",
        at=SUPABASE,
    ),
    Plant(
        "a function of triggers with another body",
        "create or replace function private.touch_updated_at() returns trigger language plpgsql set search_path = ''"
        " as $$begin new.updated_at = now(); return new; end$$",
        "create or replace function private.touch_updated_at() returns trigger language plpgsql set search_path = ''"
        " as $$\nbegin\n  new.updated_at = clock_timestamp();\n  return new;\nend;\n$$",
        "table:public.notes",
        "function private.touch_updated_at() differs",
        spared="table:public.order_lines",
    ),
    Plant(
        "a function of the API with another body",
        "create or replace function public.stars_of(owner uuid) returns bigint language sql stable set search_path = ''"
        " as $$ select count(*) from public.notes where owner_id = owner $$",
        "create or replace function public.stars_of(owner uuid) returns bigint language sql stable set search_path = ''"
        " as $$ select coalesce(sum(stars), 0) from public.notes where owner_id = owner $$",
        "rpc:public.stars_of",
        "function public.stars_of(owner uuid) differs",
        spared="table:public.notes",
    ),
    Plant(
        "a function that another calls",
        "create function private.taxed(numeric) returns numeric language sql immutable as 'select $1';"
        "create function public.price_of(n numeric) returns numeric language sql stable as 'select private.taxed(n)'",
        "drop function public.price_of; drop function private.taxed",
        "rpc:public.price_of",
        "function private.taxed(numeric) is missing at isobase",
        at=SUPABASE,
        spared="rpc:public.stars_of",
    ),
    Plant(
        "a missing column",
        "alter table public.lines_without_key drop column line",
        "alter table public.lines_without_key add column line text",
        "table:public.lines_without_key",
        "column public.lines_without_key.line is missing at isobase",
    ),
    Plant(
        "a changed grant",
        "revoke update on public.notes from authenticated",
        "grant update on public.notes to authenticated",
        "table:public.notes",
        "grant public.notes to authenticated differs",
    ),
    Plant(
        "a schema that may not be used",
        "revoke usage on schema shop from anon",
        "grant usage on schema shop to anon",
        "table:shop.stock",
        "grant schema shop to anon is missing at isobase",
        spared="table:public.notes",
    ),
    Plant(
        "another time zone of the login role",
        "alter role authenticator set timezone to 'Asia/Tokyo'",
        "alter role authenticator reset timezone",
        "table:public.notes",
        "setting of role authenticator TimeZone is at isobase only",
    ),
    Plant(
        "another DateStyle of a caller's role",
        "alter role authenticated set datestyle to 'ISO, DMY'",
        "alter role authenticated reset datestyle",
        "table:public.notes",
        "setting of role authenticated DateStyle is at isobase only",
    ),
    Plant(
        "another time zone of the database",
        "alter database postgres set timezone to 'America/New_York'",
        "alter database postgres reset timezone",
        "rpc:public.stars_of",
        "setting of database TimeZone is missing at isobase",
        at=SUPABASE,
    ),
    Plant(
        "another limit of rows",
        "alter role authenticator set pgrst.db_max_rows to '7'",
        "alter role authenticator reset pgrst.db_max_rows",
        "table:public.notes",
        "setting of role authenticator pgrst.db_max_rows is missing at isobase",
        at=SUPABASE,
    ),
    Plant(
        "a table that is not published",
        "alter publication supabase_realtime drop table public.orders",
        "alter publication supabase_realtime add table public.orders",
        "realtime",
        "publication supabase_realtime of public.orders is missing at isobase",
        spared="table:shop.stock",
    ),
    Plant(
        "a missing policy of storage",
        'drop policy "Everybody reads avatars" on storage.objects',
        """create policy "Everybody reads avatars" on storage.objects for select to public using (bucket_id = 'avatars')""",
        "bucket:avatars",
        "policy storage.objects.Everybody reads avatars is missing at isobase",
        spared="table:public.notes",
    ),
    Plant(
        "a trigger that makes something of new users",
        "create function private.greet() returns trigger language plpgsql as 'begin return new; end';"
        "create trigger greeted after insert on auth.users for each row execute function private.greet()",
        "drop trigger greeted on auth.users; drop function private.greet",
        "auth",
        "trigger auth.users.greeted is missing at isobase",
        at=SUPABASE,
        spared="bucket:avatars",
    ),
    Plant(
        "a missing table",
        "create table public.fresh (id int primary key)",
        "drop table public.fresh",
        "table:public.fresh",
        "table public.fresh is missing at isobase",
        at=SUPABASE,
        spared="table:public.notes",
    ),
    Plant(
        "a view that asks as its owner",
        "alter view public.order_totals reset (security_invoker)",
        "alter view public.order_totals set (security_invoker = true)",
        "table:public.order_totals",
        "view public.order_totals differs",
        spared="table:public.notes",
    ),
    Plant(
        "another set of values",
        "alter type public.order_state rename value 'sent' to 'gone'",
        "alter type public.order_state rename value 'gone' to 'sent'",
        "table:public.*",
        "type public.order_state differs",
        spared="table:public.notes",
    ),
)

ROWS = (
    Plant("a lost row", "delete from public.kinds where id = 1", "", "table:public.kinds", "missing key 1"),
    Plant(
        "a changed row",
        "update public.kinds set price = price + 1 where id = 2",
        "",
        "table:public.kinds",
        "different key 2 (price)",
    ),
    Plant(
        "another normalisation of a text",
        "update public.kinds set nothing = normalize(nothing, nfd) where id = 3",
        "",
        "table:public.kinds",
        "different key 3 (nothing)",
    ),
    Plant("an extra row", "insert into public.kinds (id) values (99)", "", "table:public.kinds", "extra key 99"),
    Plant(
        "a moment in another zone",
        "update public.kinds set at = (at at time zone 'Asia/Tokyo') at time zone 'UTC' where id = 4",
        "",
        "table:public.kinds",
        "different key 4 (at)",
    ),
)
USERS = (
    Plant(
        "another password",
        "update auth.users set encrypted_password = '$2a$04$abcdefghijklmnopqrstuu5Ok5wMPVt3kXlE8hDQTHyvB.uUAyKx6'"
        " where id = %s",
        "",
        "auth",
        "users (encrypted_password)",
    ),
    Plant(
        "a missing identity",
        "delete from auth.identities where user_id = %s",
        "",
        "auth",
        "identities (missing at isobase)",
    ),
    Plant(
        "a missing factor",
        "delete from auth.mfa_factors where user_id = %s",
        "",
        "auth",
        "mfa_factors (missing at isobase)",
    ),
)
