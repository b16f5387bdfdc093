"""Calls with arguments that make no sense, and corners that few apps come to."""

from __future__ import annotations

from typing import Any

from tests.sdk.contract.kit import Call, Kit, Scenario, scenario
from tests.sdk.contract.scenarios_auth import ANN, BEN, NOBODY, expired_token

__all__ = ["SCENARIOS"]


def books(kit: Kit) -> Any:
    return kit.service.table("books")


def auth(kit: Kit) -> Any:
    return kit.anon.auth


def files(kit: Kit) -> Any:
    return kit.service.storage.from_("files")


DATA: dict[str, Call] = {
    "insert None": lambda k: books(k).insert(None).execute(),
    "insert a text": lambda k: books(k).insert("title").execute(),
    "insert a number": lambda k: books(k).insert(5).execute(),
    "insert a list of lists": lambda k: books(k).insert([["a"]]).execute(),
    "insert an empty object": lambda k: books(k).insert({}).execute(),
    "update None": lambda k: books(k).update(None).eq("id", 1).execute(),
    "update a list": lambda k: books(k).update([{"price": 1}]).eq("id", 1).execute(),
    "upsert None": lambda k: books(k).upsert(None).execute(),
    "table None": lambda k: k.service.table(None).select("*").execute(),
    "rpc None": lambda k: k.service.rpc(None, {}).execute(),
    "rpc with a list": lambda k: k.service.rpc("add", [1, 2]).execute(),
    "rpc with a text": lambda k: k.service.rpc("add", "a").execute(),
    "eq without a value": lambda k: books(k).select("id").eq("id").execute(),
    "eq a list": lambda k: books(k).select("id").eq("id", [1]).execute(),
    "eq a dict": lambda k: books(k).select("id").eq("meta", {"lang": "de"}).execute(),
    "in_ None": lambda k: books(k).select("id").in_("id", None).execute(),
    "in_ a generator": lambda k: books(k).select("id").order("id").in_("id", (n for n in (1, 2))).execute(),
    "contains a number": lambda k: books(k).select("id").contains("tags", 5).execute(),
    "range of one": lambda k: books(k).select("id").range(1).execute(),
    "range backwards": lambda k: books(k).select("id").range(5, 1).execute(),
    "range of texts": lambda k: books(k).select("id").range("a", "b").execute(),
    "order of nothing": lambda k: books(k).select("id").order("").execute(),
    "order of an unknown column": lambda k: books(k).select("id").order("colour").execute(),
    "limit None": lambda k: books(k).select("id").order("id").limit(None).execute(),
    "count by a wrong word": lambda k: books(k).select("id", count="all").limit(1).execute(),
    "no such method": lambda k: books(k).choose("id"),
    "single on an insert": lambda k: books(k).insert({"title": "s"}).single(),
    "select twice": lambda k: books(k).select("id").select("title"),
    "execute twice": lambda k: k.seen.setdefault("query", books(k).select("id").order("id")).execute(),
    "execute once more": lambda k: k.seen["query"].execute(),
    "schema None": lambda k: k.service.schema(None).table("books").select("id").execute(),
    "filter after a write": lambda k: books(k).insert({"title": "s"}).eq("id", 1),
    "huge number": lambda k: books(k).select("id").eq("id", 10**30).execute(),
    "a NUL": lambda k: books(k).select("id").eq("title", "a\x00b").execute(),
    "half a character": lambda k: books(k).select("id").eq("title", "\ud800").execute(),
    "a long filter": lambda k: books(k).select("id").in_("id", list(range(3000))).execute(),
    "a column with a space": lambda k: books(k).select("id").eq("no column", 1).execute(),
    "auth with nothing": lambda k: k.client("n", k.place.anon_key).postgrest.auth(None),
    "auth with a name": lambda k: (
        k.client("m", k.place.anon_key)
        .postgrest.auth(None, username="a", password="b")
        .from_("books")
        .select("id")
        .execute()
    ),
}

AUTH: dict[str, Call] = {
    "sign up None": lambda k: auth(k).sign_up(None),
    "sign up with a text": lambda k: auth(k).sign_up("ann@example.com"),
    "sign up with options": lambda k: auth(k).sign_up(
        {**ANN, "options": {"email_redirect_to": "https://app.example/x", "captcha_token": "c", "data": {"n": [1]}}}
    ),
    "password None": lambda k: auth(k).sign_in_with_password({"email": "a@example.com", "password": None}),
    "otp with options": lambda k: auth(k).sign_in_with_otp(
        {"email": ANN["email"], "options": {"email_redirect_to": "https://app.example/x", "data": {"a": 1}}}
    ),
    "otp with a number": lambda k: auth(k).sign_in_with_otp({"email": 5}),
    "verify with nothing": lambda k: auth(k).verify_otp({}),
    "verify without a type": lambda k: auth(k).verify_otp({"email": ANN["email"], "token": "123456"}),
    "verify with a wrong type": lambda k: auth(k).verify_otp({"email": ANN["email"], "token": "1", "type": "no"}),
    "update None": lambda k: auth(k).update_user(None),
    "update address": lambda k: auth(k).update_user(
        {"email": "new@example.com"}, {"email_redirect_to": "https://app.example/y"}
    ),
    "update phone": lambda k: auth(k).update_user({"phone": "+491700000001"}),
    "update nonce": lambda k: auth(k).update_user({"password": "third password", "nonce": "000000"}),
    "get user None": lambda k: auth(k).get_user(None),
    "get user with an empty token": lambda k: auth(k).get_user(""),
    "claims with a number": lambda k: auth(k).get_claims(5),
    "oauth without a provider": lambda k: auth(k).sign_in_with_oauth({}),
    "oauth with an unknown one": lambda k: auth(k).sign_in_with_oauth({"provider": "nobody"}),
    "oauth with an object of options": lambda k: auth(k).sign_in_with_oauth({"provider": "github", "options": {}}),
    "link an unknown one": lambda k: auth(k).link_identity({"provider": "nobody"}),
    "unlink nothing": lambda k: auth(k).unlink_identity(None),
    "id token with nothing": lambda k: auth(k).sign_in_with_id_token({}),
    "id token of an unknown one": lambda k: auth(k).sign_in_with_id_token({"provider": "nobody", "token": "t"}),
    "exchange nothing": lambda k: auth(k).exchange_code_for_session({}),
    "resend an unknown kind": lambda k: auth(k).resend({"type": "nothing", "email": ANN["email"]}),
    "resend sms": lambda k: auth(k).resend({"type": "sms", "phone": "+491700000000"}),
    "reset by the older name": lambda k: auth(k).reset_password_email(ANN["email"]),
    "sign out with a wrong scope": lambda k: auth(k).sign_out({"scope": "nowhere"}),
    "from a URL": lambda k: auth(k).initialize_from_url("https://app.example/#no=thing"),
    "from a URL with an error": lambda k: auth(k).initialize_from_url(
        "https://app.example/?error=denied&error_code=403&error_description=No"
    ),
    "from a URL with half a session": lambda k: auth(k).initialize_from_url("https://app.example/?access_token=a"),
    "initialize": lambda k: auth(k).initialize(),
    "set session to None": lambda k: auth(k).set_session(None, None),
    "refresh with a number": lambda k: auth(k).refresh_session(5),
    "challenge nothing": lambda k: auth(k).mfa.challenge({}),
    "verify nothing": lambda k: auth(k).mfa.verify({}),
    "enroll nothing": lambda k: auth(k).mfa.enroll({}),
    "enroll an unknown kind": lambda k: auth(k).mfa.enroll({"factor_type": "nothing"}),
    "unenroll nothing": lambda k: auth(k).mfa.unenroll({}),
    "admin create None": lambda k: k.service.auth.admin.create_user(None),
    "admin list page 0": lambda k: k.service.auth.admin.list_users(page=0, per_page=0),
    "admin list far away": lambda k: k.service.auth.admin.list_users(page=99, per_page=50),
    "admin get None": lambda k: k.service.auth.admin.get_user_by_id(None),
    "admin link without a kind": lambda k: k.service.auth.admin.generate_link({"email": BEN["email"]}),
    "admin invite nothing": lambda k: k.service.auth.admin.invite_user_by_email(""),
    "admin sign out expired": lambda k: k.service.auth.admin.sign_out(expired_token(k)),
    "admin sign out with a scope": lambda k: k.service.auth.admin.sign_out("broken", "local"),
    "admin factor of nobody": lambda k: k.service.auth.admin.mfa.delete_factor({"user_id": NOBODY, "id": NOBODY}),
    "admin oauth clients": lambda k: k.service.auth.admin.oauth.list_clients(),
    "admin oauth client of nobody": lambda k: k.service.auth.admin.oauth.get_client(NOBODY),
    "admin oauth client with no id": lambda k: k.service.auth.admin.oauth.get_client("x"),
}

FILES: dict[str, Call] = {
    "bucket": lambda k: k.service.storage.create_bucket("files"),
    "bucket None": lambda k: k.service.storage.create_bucket(None),
    "from None": lambda k: k.service.storage.from_(None).list(),
    "upload None": lambda k: files(k).upload("a.txt", None),
    "upload to nowhere": lambda k: files(k).upload("", b"x"),
    "upload with a slash": lambda k: files(k).upload("/b//c.txt", b"x"),
    "upload up the tree": lambda k: files(k).upload("../x.txt", b"x"),
    "upload with a number of seconds": lambda k: files(k).upload("d.txt", b"x", {"cache-control": 5}),
    "download nothing": lambda k: files(k).download(""),
    "download None": lambda k: files(k).download(None),
    "list None": lambda k: files(k).list(None),
    "list with a wrong limit": lambda k: files(k).list("", {"limit": "many"}),
    "list with a wrong order": lambda k: files(k).list("", {"sortBy": {"column": "nothing", "order": "asc"}}),
    "sign for a text": lambda k: files(k).create_signed_url("b/c.txt", "soon"),
    "sign nothing": lambda k: files(k).create_signed_urls([], 60),
    "remove None": lambda k: files(k).remove(None),
    "move to itself": lambda k: files(k).move("b/c.txt", "b/c.txt"),
    "copy to nowhere": lambda k: files(k).copy("b/c.txt", ""),
    "public URL of nothing": lambda k: files(k).get_public_url(""),
    "public URL of None": lambda k: files(k).get_public_url(None),
    "public URL with a slash": lambda k: files(k).get_public_url("/a//b.txt"),
    "options of a bucket": lambda k: k.service.storage.create_bucket("odd", options={"file_size_limit": "no size"}),
    "limit of a bucket": lambda k: k.service.storage.create_bucket("odd", options={"file_size_limit": -1}),
    "what is there": lambda k: files(k).list("", {"sortBy": {"column": "name", "order": "asc"}}),
    "vector buckets": lambda k: k.service.storage.vectors().list_buckets(),
    "a vector bucket": lambda k: k.service.storage.vectors().create_bucket("v"),
    "analytics": lambda k: k.service.storage.analytics().list(),
    "an analytics bucket": lambda k: k.service.storage.analytics().create("a"),
}

SCENARIOS: tuple[Scenario, ...] = (
    scenario("wrong.data", DATA),
    scenario("wrong.auth", AUTH),
    scenario("wrong.storage", FILES),
)
