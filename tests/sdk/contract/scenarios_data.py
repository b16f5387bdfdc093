"""The data client's calls: every builder method, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sdk.contract.kit import Call, Kit, Scenario, scenario

__all__ = ["SCENARIOS"]


def books(kit: Kit) -> Any:
    return kit.service.table("books")


def counted(kit: Kit, how: str) -> Any:
    return getattr(kit.module("postgrest.types").CountMethod, how)


def returned(kit: Kit, how: str) -> Any:
    return getattr(kit.module("postgrest.types").ReturnMethod, how)


def filtered(chain: Callable[[Any], Any]) -> Call:
    return lambda kit: chain(books(kit).select("id").order("id")).execute()


READS: dict[str, Call] = {
    "everything": lambda k: books(k).select("*").order("id").execute(),
    "no columns": lambda k: books(k).select().order("id").execute(),
    "columns": lambda k: books(k).select("id", "title").order("id").execute(),
    "columns in one text": lambda k: books(k).select("id, title").order("id").execute(),
    "alias, cast and path": lambda k: books(k).select("name:title, price::text, meta->size->>w").order("id").execute(),
    "embedded": lambda k: books(k).select("title, authors(name)").order("id").execute(),
    "embedded inner": lambda k: k.service.table("authors").select("name, books!inner(title)").order("id").execute(),
    "from_": lambda k: k.service.from_("books").select("id").order("id").execute(),
    "another schema": lambda k: k.service.schema("other").table("books").select("*").execute(),
    "count exact": lambda k: books(k).select("id", count=counted(k, "exact")).limit(1).execute(),
    "count by text": lambda k: books(k).select("id", count="exact").limit(1).execute(),
    "head": lambda k: books(k).select("id", count=counted(k, "exact"), head=True).execute(),
    "head without count": lambda k: books(k).select("id", head=True).execute(),
    "single": lambda k: books(k).select("*").eq("id", 1).single().execute(),
    "single of none": lambda k: books(k).select("*").eq("id", 99).single().execute(),
    "single of many": lambda k: books(k).select("*").single().execute(),
    "maybe_single": lambda k: books(k).select("*").eq("id", 1).maybe_single().execute(),
    "maybe_single of none": lambda k: books(k).select("*").eq("id", 99).maybe_single().execute(),
    "maybe_single of many": lambda k: books(k).select("*").maybe_single().execute(),
    "csv": lambda k: books(k).select("id, title").order("id").csv().execute(),
    "explain": lambda k: books(k).select("id").explain().execute(),
    "limit": lambda k: books(k).select("id").order("id").limit(2).execute(),
    "offset": lambda k: books(k).select("id").order("id").limit(2).offset(1).execute(),
    "range": lambda k: books(k).select("id").order("id").range(1, 2).execute(),
    "range beyond": lambda k: books(k).select("id", count=counted(k, "exact")).order("id").range(50, 60).execute(),
    "order down, nulls first": lambda k: books(k).select("id").order("price", desc=True, nullsfirst=True).execute(),
    "order nulls last": lambda k: books(k).select("id").order("price", nullsfirst=False).execute(),
    "two orders": lambda k: books(k).select("id").order("author_id").order("id", desc=True).execute(),
    "order of embedded": lambda k: (
        k.service.table("authors")
        .select("name, books(id)")
        .order("id")
        .order("id", desc=True, foreign_table="books")
        .execute()
    ),
    "limit of embedded": lambda k: (
        k.service.table("authors").select("name, books(id)").order("id").limit(1, foreign_table="books").execute()
    ),
    "all kinds of values": lambda k: k.service.table("shapes").select("*").execute(),
}

FILTERS: dict[str, Call] = {
    name: filtered(chain)
    for name, chain in {
        "eq": lambda q: q.eq("title", "First"),
        "eq number": lambda q: q.eq("id", 2),
        "eq true": lambda q: q.eq("id", True),
        "eq None": lambda q: q.eq("price", None),
        "eq text with comma": lambda q: q.eq("title", "Second, too"),
        "eq text with quotes": lambda q: q.eq("title", 'Third "x"'),
        "neq": lambda q: q.neq("id", 2),
        "gt": lambda q: q.gt("id", 1),
        "gte": lambda q: q.gte("price", 9.5),
        "lt": lambda q: q.lt("id", 2),
        "lte": lambda q: q.lte("id", 2),
        "is_ null": lambda q: q.is_("price", "null"),
        "is_ None": lambda q: q.is_("price", None),
        "like": lambda q: q.like("title", "F%"),
        "ilike": lambda q: q.ilike("title", "f%"),
        "like_all_of": lambda q: q.like_all_of("title", "F%,%t"),
        "like_any_of": lambda q: q.like_any_of("title", "F%,S%"),
        "ilike_all_of": lambda q: q.ilike_all_of("title", "f%,%T"),
        "ilike_any_of": lambda q: q.ilike_any_of("title", "f%,s%"),
        "in_": lambda q: q.in_("id", [1, 3]),
        "in_ texts": lambda q: q.in_("title", ["Second, too", 'Third "x"', "a(b)"]),
        "in_ nothing": lambda q: q.in_("id", []),
        "contains list": lambda q: q.contains("tags", ["new"]),
        "contains dict": lambda q: q.contains("meta", {"lang": "en"}),
        "contains text": lambda q: q.contains("pages", "[2,3)"),
        "contained_by": lambda q: q.contained_by("tags", ["new", "short", "old"]),
        "cs": lambda q: q.cs("tags", ["new"]),
        "cd": lambda q: q.cd("tags", ["new", "short"]),
        "ov": lambda q: q.ov("tags", ["old", "new"]),
        "ov text": lambda q: q.ov("pages", "[5,12)"),
        "overlaps": lambda q: q.overlaps("tags", ["old"]),
        "sl": lambda q: q.sl("pages", [10, 20]),
        "sr": lambda q: q.sr("pages", [1, 5]),
        "nxl": lambda q: q.nxl("pages", [10, 20]),
        "nxr": lambda q: q.nxr("pages", [1, 10]),
        "adj": lambda q: q.adj("pages", [10, 20]),
        "range_gt": lambda q: q.range_gt("pages", [1, 5]),
        "range_gte": lambda q: q.range_gte("pages", [1, 5]),
        "range_lt": lambda q: q.range_lt("pages", [15, 25]),
        "range_lte": lambda q: q.range_lte("pages", [15, 25]),
        "range_adjacent": lambda q: q.range_adjacent("pages", [10, 20]),
        "fts": lambda q: q.fts("words", "cat"),
        "plfts": lambda q: q.plfts("words", "cat mat"),
        "phfts": lambda q: q.phfts("words", "cat sat"),
        "wfts": lambda q: q.wfts("words", "cat or dog"),
        "text_search": lambda q: q.text_search("words", "cat"),
        "text_search with options": lambda q: q.text_search("words", "cats", {"type": "plain", "config": "english"}),
        "match": lambda q: q.match({"author_id": 1, "title": "First"}),
        "match nothing": lambda q: q.match({}),
        "or_": lambda q: q.or_("id.eq.1,title.eq.Third"),
        "or_ broken": lambda q: q.or_("id.eq.1,"),
        "not_": lambda q: q.not_.eq("id", 1),
        "not_ is_": lambda q: q.not_.is_("price", "null"),
        "not_ in_": lambda q: q.not_.in_("id", [1, 2]),
        "filter": lambda q: q.filter("id", "eq", "1"),
        "filter of json": lambda q: q.filter("meta->>lang", "eq", "de"),
        "filter with a wrong operator": lambda q: q.filter("id", "equals", "1"),
        "unknown column": lambda q: q.eq("colour", "red"),
        "wrong type": lambda q: q.eq("id", "one"),
        "max_affected": lambda q: q.max_affected(1),
        "two of one column": lambda q: q.gt("id", 1).lt("id", 3),
    }.items()
}

WRITES: dict[str, Call] = {
    "insert": lambda k: books(k).insert({"title": "New"}).execute(),
    "insert list": lambda k: books(k).insert([{"title": "a"}, {"title": "b"}]).execute(),
    "insert nothing": lambda k: books(k).insert([]).execute(),
    "insert minimal": lambda k: books(k).insert({"title": "c"}, returning=returned(k, "minimal")).execute(),
    "insert counted": lambda k: books(k).insert([{"title": "d"}], count=counted(k, "exact")).execute(),
    "insert with defaults": lambda k: books(k).insert([{"title": "e", "tags": ["x"]}, {"title": "f"}]).execute(),
    "insert without defaults": lambda k: (
        books(k).insert([{"title": "e", "price": 1}, {"title": "f"}], default_to_null=False).execute()
    ),
    "insert upsert": lambda k: books(k).insert({"id": 1, "title": "First again"}, upsert=True).execute(),
    "insert of an unknown column": lambda k: books(k).insert({"colour": "red"}).execute(),
    "insert null": lambda k: books(k).insert({"title": None}).execute(),
    "insert of a wrong type": lambda k: books(k).insert({"title": "x", "price": "much"}).execute(),
    "insert against a check": lambda k: books(k).insert({"title": "x", "price": -1}).execute(),
    "insert of a key that is there": lambda k: books(k).insert({"id": 1, "title": "x"}).execute(),
    "insert of a reference to nothing": lambda k: books(k).insert({"title": "x", "author_id": 99}).execute(),
    "insert of what is no JSON": lambda k: books(k).insert({"title": object()}).execute(),
    "upsert": lambda k: books(k).upsert({"id": 2, "title": "Second again"}).execute(),
    "upsert of new": lambda k: books(k).upsert([{"id": 70, "title": "x"}, {"id": 71, "title": "y"}]).execute(),
    "upsert ignoring": lambda k: books(k).upsert({"id": 2, "title": "z"}, ignore_duplicates=True).execute(),
    "upsert on conflict": lambda k: (
        k.service.table("authors").upsert({"name": "Ada", "born": "2000-01-01"}, on_conflict="name").execute()
    ),
    "upsert on a wrong column": lambda k: (
        k.service.table("authors").upsert({"name": "A"}, on_conflict="born").execute()
    ),
    "update": lambda k: books(k).update({"price": 3}).eq("id", 1).execute(),
    "update of none": lambda k: books(k).update({"price": 3}).eq("id", 999).execute(),
    "update minimal": lambda k: books(k).update({"price": 4}, returning=returned(k, "minimal")).eq("id", 1).execute(),
    "update counted": lambda k: books(k).update({"price": 5}, count=counted(k, "exact")).eq("id", 2).execute(),
    "update of too many": lambda k: books(k).update({"price": 5}).gt("id", 0).max_affected(1).execute(),
    "update with nothing": lambda k: books(k).update({}).eq("id", 1).execute(),
    "update of an unknown column": lambda k: books(k).update({"colour": "red"}).eq("id", 1).execute(),
    "delete": lambda k: books(k).delete().eq("id", 70).execute(),
    "delete of none": lambda k: books(k).delete().eq("id", 999).execute(),
    "delete minimal": lambda k: books(k).delete(returning=returned(k, "minimal")).eq("id", 2).execute(),
    "delete counted": lambda k: books(k).delete(count=counted(k, "exact")).eq("id", 3).execute(),
    "delete of what is referred to": lambda k: k.service.table("authors").delete().gt("id", 0).execute(),
    "what is left": lambda k: books(k).select("title").order("title").execute(),
}

CALLS: dict[str, Call] = {
    "scalar": lambda k: k.service.rpc("add", {"a": 1, "b": 2}).execute(),
    "default": lambda k: k.service.rpc("add", {"a": 1}).execute(),
    "get": lambda k: k.service.rpc("add", {"a": 1, "b": 2}, get=True).execute(),
    "head": lambda k: k.service.rpc("some_books", {}, count=counted(k, "exact"), head=True).execute(),
    "counted": lambda k: k.service.rpc("some_books", {}, count=counted(k, "exact")).execute(),
    "void": lambda k: k.service.rpc("nothing", {}).execute(),
    "no parameters": lambda k: k.service.rpc("nothing").execute(),
    "null": lambda k: k.service.rpc("null_text", {}).execute(),
    "rows": lambda k: k.service.rpc("some_books", {"wanted": "f%"}).execute(),
    "rows, filtered": lambda k: k.service.rpc("some_books", {}).select("id, title").gt("id", 1).order("id").execute(),
    "rows, limited": lambda k: k.service.rpc("some_books", {}).limit(1).execute(),
    "one row": lambda k: k.service.rpc("one_book", {"wanted": 1}).execute(),
    "single": lambda k: k.service.rpc("some_books", {"wanted": "First"}).single().execute(),
    "single of none": lambda k: k.service.rpc("some_books", {"wanted": "zzz"}).single().execute(),
    "maybe_single of none": lambda k: k.service.rpc("some_books", {"wanted": "zzz"}).maybe_single().execute(),
    "csv": lambda k: k.service.rpc("some_books", {}).select("id, title").csv().execute(),
    "unknown function": lambda k: k.service.rpc("nope", {}).execute(),
    "unknown argument": lambda k: k.service.rpc("add", {"x": 1}).execute(),
    "wrong type": lambda k: k.service.rpc("add", {"a": "one"}).execute(),
    "raised": lambda k: k.service.rpc("complain", {"state": "P0001", "words": "no"}).execute(),
    "raised with a status": lambda k: k.service.rpc("complain", {"state": "PT418", "words": "teapot"}).execute(),
    "raised as refusal": lambda k: k.anon.rpc("complain", {"state": "42501", "words": "not you"}).execute(),
    "who, anon": lambda k: k.anon.rpc("whoami", {}).execute(),
    "who, service": lambda k: k.service.rpc("whoami", {}).execute(),
}

REFUSALS: dict[str, Call] = {
    "unknown table": lambda k: k.anon.table("nope").select("*").execute(),
    "unknown schema": lambda k: k.anon.schema("nope").table("books").select("*").execute(),
    "unknown relation": lambda k: books(k).select("title, nope(*)").execute(),
    "broken select": lambda k: books(k).select("title, authors(").execute(),
    "no rights": lambda k: k.anon.table("mine").select("*").execute(),
    "no rights to write": lambda k: k.anon.table("mine").insert({"note": "x"}).execute(),
    "a key that is no token": lambda k: k.client("bad", "a.b.c").table("books").select("id").execute(),
    "a wrong key": lambda k: k.client("wrong", f"{k.place.anon_key[:-4]}AAAA").table("books").select("id").execute(),
    "a wrong path": lambda k: (
        k.client("path", k.place.anon_key, f"{k.place.url}/nowhere").table("b").select("*").execute()
    ),
    "nobody there": lambda k: (
        k.client("nobody", k.place.anon_key, "http://127.0.0.1:9", postgrest_client_retry=False)
        .table("b")
        .select("*")
        .execute()
    ),
    "an empty table name": lambda k: k.anon.table("").select("*").execute(),
    "a table with spaces": lambda k: k.anon.table("no such table").select("*").execute(),
    "select of a number": lambda k: books(k).select(5).execute(),
    "limit of a text": lambda k: books(k).select("id").limit("many").execute(),
    "negative limit": lambda k: books(k).select("id").limit(-1).execute(),
    "in_ of a text": lambda k: books(k).select("id").in_("title", "First").execute(),
}

BUILDERS: dict[str, Call] = {
    "client": lambda k: k.service,
    "postgrest": lambda k: k.service.postgrest,
    "table": lambda k: books(k),
    "select": lambda k: books(k).select("*"),
    "insert": lambda k: books(k).insert({"title": "x"}),
    "upsert": lambda k: books(k).upsert({"title": "x"}),
    "update": lambda k: books(k).update({"title": "x"}),
    "delete": lambda k: books(k).delete(),
    "filter": lambda k: books(k).select("*").eq("id", 1),
    "single": lambda k: books(k).select("*").single(),
    "maybe_single": lambda k: books(k).select("*").maybe_single(),
    "csv": lambda k: books(k).select("*").csv(),
    "explain": lambda k: books(k).select("*").explain(),
    "rpc": lambda k: k.service.rpc("add", {"a": 1}),
    "schema": lambda k: k.service.schema("other"),
    "headers": lambda k: {n: v for n, v in k.service.postgrest.headers.items() if n.lower() in {"apikey", "accept"}},
}

SCENARIOS: tuple[Scenario, ...] = (
    scenario("data.read", READS),
    scenario("data.filter", FILTERS),
    scenario("data.write", WRITES),
    scenario("data.rpc", CALLS),
    scenario("data.refuse", REFUSALS),
    scenario("data.build", BUILDERS),
)
