"""The auth client's calls: a user's way through sign-up, sessions, factors and sign-out, admin, and what goes wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
import time
from typing import Any

from tests.sdk.contract.kit import Call, Kit, Scenario, scenario

__all__ = ["ANN", "BEN", "NOBODY", "SCENARIOS", "expired_token"]

ANN = {"email": "ann@example.com", "password": "ann's password"}
BEN = {"email": "ben@example.com", "password": "ben's password"}
NOBODY = "99999999-9999-4999-8999-999999999999"
REDIRECT = {"redirect_to": "https://app.example/back"}


def auth(kit: Kit) -> Any:
    return kit.anon.auth


def admin(kit: Kit) -> Any:
    return kit.service.auth.admin


def session(kit: Kit, name: str) -> Any:
    return kit.seen[name].session


def expired_token(kit: Kit) -> str:
    """A token of this project that ended a while ago."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    now = int(time.time())
    claims = {"sub": NOBODY, "role": "authenticated", "aud": "authenticated", "iat": now - 7200, "exp": now - 3600}
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    signature = hmac.new(kit.place.jwt_secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def totp(secret: str) -> str:
    """The code of this moment (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    place = digest[-1] & 15
    return f"{(int.from_bytes(digest[place : place + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"


USER: dict[str, Call] = {
    "no session": lambda k: auth(k).get_session(),
    "no user": lambda k: auth(k).get_user(),
    "sign up": lambda k: auth(k).sign_up({**ANN, "options": {"data": {"name": "Ann"}}}),
    "session": lambda k: auth(k).get_session(),
    "user": lambda k: auth(k).get_user(),
    "user of a token": lambda k: auth(k).get_user(session(k, "sign up").access_token),
    "claims": lambda k: auth(k).get_claims(),
    "claims of a token": lambda k: auth(k).get_claims(session(k, "sign up").access_token),
    "data as the user": lambda k: k.anon.table("mine").insert({"note": "mine"}).execute(),
    "who": lambda k: k.anon.rpc("whoami", {}).execute(),
    "update data": lambda k: auth(k).update_user({"data": {"color": "red"}}),
    "update password": lambda k: auth(k).update_user({"password": "another password"}),
    "update with the same password": lambda k: auth(k).update_user({"password": "another password"}),
    "update with a weak password": lambda k: auth(k).update_user({"password": "x"}),
    "refresh": lambda k: auth(k).refresh_session(),
    "refresh with a token": lambda k: auth(k).refresh_session(session(k, "refresh").refresh_token),
    "set session": lambda k: auth(k).set_session(
        session(k, "refresh with a token").access_token, session(k, "refresh with a token").refresh_token
    ),
    "identities": lambda k: auth(k).get_user_identities(),
    "unlink the last": lambda k: auth(k).unlink_identity(k.seen["identities"].identities[0]),
    "reauthenticate": lambda k: auth(k).reauthenticate(),
    "sign out of others": lambda k: auth(k).sign_out({"scope": "others"}),
    "sign out": lambda k: auth(k).sign_out(),
    "no session after": lambda k: auth(k).get_session(),
    "no user after": lambda k: auth(k).get_user(),
    "update without a session": lambda k: auth(k).update_user({"data": {}}),
    "refresh without a session": lambda k: auth(k).refresh_session(),
    "identities without a session": lambda k: auth(k).get_user_identities(),
    "reauthenticate without a session": lambda k: auth(k).reauthenticate(),
    "claims without a session": lambda k: auth(k).get_claims(),
    "sign out twice": lambda k: auth(k).sign_out(),
    "sign in": lambda k: auth(k).sign_in_with_password({"email": ANN["email"], "password": "another password"}),
    "sign out everywhere": lambda k: auth(k).sign_out({"scope": "global"}),
    "a refresh token that ended": lambda k: auth(k).refresh_session(session(k, "sign in").refresh_token),
    "an access token that ended": lambda k: auth(k).get_user(session(k, "sign in").access_token),
}

REFUSALS: dict[str, Call] = {
    "sign up": lambda k: auth(k).sign_up(ANN),
    "sign up twice": lambda k: auth(k).sign_up(ANN),
    "sign up with a weak password": lambda k: auth(k).sign_up({"email": "c@example.com", "password": "x"}),
    "sign up with no address": lambda k: auth(k).sign_up({"email": "nowhere", "password": "good password"}),
    "sign up with nothing": lambda k: auth(k).sign_up({}),
    "sign up without password": lambda k: auth(k).sign_up({"email": "c@example.com"}),
    "sign up by phone": lambda k: auth(k).sign_up({"phone": "+491700000000", "password": "good password"}),
    "wrong password": lambda k: auth(k).sign_in_with_password({**ANN, "password": "wrong password"}),
    "unknown user": lambda k: auth(k).sign_in_with_password(BEN),
    "sign in with nothing": lambda k: auth(k).sign_in_with_password({}),
    "sign in by phone": lambda k: auth(k).sign_in_with_password({"phone": "+491700000000", "password": "x"}),
    "otp with nothing": lambda k: auth(k).sign_in_with_otp({}),
    "otp of nobody": lambda k: auth(k).sign_in_with_otp(
        {"email": "nobody@example.com", "options": {"should_create_user": False}}
    ),
    "otp by mail": lambda k: auth(k).sign_in_with_otp({"email": "new@example.com"}),
    "otp by phone": lambda k: auth(k).sign_in_with_otp({"phone": "+491700000000"}),
    "verify a wrong code": lambda k: auth(k).verify_otp({"email": ANN["email"], "token": "000000", "type": "email"}),
    "verify a wrong hash": lambda k: auth(k).verify_otp({"token_hash": "abc", "type": "email"}),
    "verify a wrong phone": lambda k: auth(k).verify_otp({"phone": "+491700000000", "token": "0", "type": "sms"}),
    "resend": lambda k: auth(k).resend({"type": "signup", "email": ANN["email"]}),
    "resend to nobody": lambda k: auth(k).resend({"type": "signup"}),
    "reset password": lambda k: auth(k).reset_password_for_email(ANN["email"]),
    "reset password with options": lambda k: auth(k).reset_password_for_email(ANN["email"], REDIRECT),
    "reset password of nobody": lambda k: auth(k).reset_password_for_email("nobody@example.com"),
    "reset password of no address": lambda k: auth(k).reset_password_for_email("nowhere"),
    "a broken token": lambda k: auth(k).get_user("broken"),
    "an expired token": lambda k: auth(k).get_user(expired_token(k)),
    "claims of a broken token": lambda k: auth(k).get_claims("broken"),
    "claims of an expired token": lambda k: auth(k).get_claims(expired_token(k)),
    "set a broken session": lambda k: auth(k).set_session("broken", "broken"),
    "set an expired session": lambda k: auth(k).set_session(expired_token(k), "broken"),
    "set an empty session": lambda k: auth(k).set_session("", ""),
    "refresh with a broken token": lambda k: auth(k).refresh_session("broken"),
    "exchange a wrong code": lambda k: auth(k).exchange_code_for_session(
        {"auth_code": "broken", "code_verifier": "v", "redirect_to": ""}
    ),
    "id token of nobody": lambda k: auth(k).sign_in_with_id_token({"provider": "google", "token": "broken"}),
    "single sign-on of no domain": lambda k: auth(k).sign_in_with_sso({"domain": "nowhere.example"}),
    "single sign-on with nothing": lambda k: auth(k).sign_in_with_sso({}),
    "oauth": lambda k: auth(k).sign_in_with_oauth({"provider": "github", "options": {**REDIRECT, "scopes": "a b"}}),
    "oauth with parameters": lambda k: auth(k).sign_in_with_oauth(
        {"provider": "github", "options": {"query_params": {"prompt": "consent"}}}
    ),
    "link while signed in": lambda k: auth(k).link_identity({"provider": "github"}),
    "a wrong key": lambda k: k.client("wrong", f"{k.place.anon_key[:-4]}AAAA").auth.sign_in_with_password(ANN),
    "nobody there": lambda k: k.client("nobody", k.place.anon_key, "http://127.0.0.1:9").auth.sign_in_with_password(
        ANN
    ),
    "anon as admin": lambda k: auth(k).admin.list_users(),
    "expired token for data": lambda k: k.anon.postgrest.auth(expired_token(k)).from_("books").select("id").execute(),
}

FACTORS: dict[str, Call] = {
    "factors without a session": lambda k: auth(k).mfa.list_factors(),
    "enroll without a session": lambda k: auth(k).mfa.enroll({"factor_type": "totp"}),
    "level without a session": lambda k: auth(k).mfa.get_authenticator_assurance_level(),
    "sign up": lambda k: auth(k).sign_up(ANN),
    "level": lambda k: auth(k).mfa.get_authenticator_assurance_level(),
    "no factors": lambda k: auth(k).mfa.list_factors(),
    "enroll": lambda k: auth(k).mfa.enroll({"factor_type": "totp", "friendly_name": "phone"}),
    "enroll the same name": lambda k: auth(k).mfa.enroll({"factor_type": "totp", "friendly_name": "phone"}),
    "enroll a phone": lambda k: auth(k).mfa.enroll({"factor_type": "phone", "phone": "+491700000000"}),
    "challenge": lambda k: auth(k).mfa.challenge({"factor_id": k.seen["enroll"].id}),
    "verify a wrong code": lambda k: auth(k).mfa.verify(
        {"factor_id": k.seen["enroll"].id, "challenge_id": k.seen["challenge"].id, "code": "000000"}
    ),
    "verify": lambda k: auth(k).mfa.challenge_and_verify(
        {"factor_id": k.seen["enroll"].id, "code": totp(k.seen["enroll"].totp.secret)}
    ),
    "factors": lambda k: auth(k).mfa.list_factors(),
    "level after": lambda k: auth(k).mfa.get_authenticator_assurance_level(),
    "challenge of nothing": lambda k: auth(k).mfa.challenge({"factor_id": NOBODY}),
    "unenroll nothing": lambda k: auth(k).mfa.unenroll({"factor_id": NOBODY}),
    "unenroll": lambda k: auth(k).mfa.unenroll({"factor_id": k.seen["enroll"].id}),
}

ADMIN: dict[str, Call] = {
    "create": lambda k: admin(k).create_user(
        {**ANN, "email_confirm": True, "user_metadata": {"a": 1}, "app_metadata": {"b": [2]}}
    ),
    "create twice": lambda k: admin(k).create_user(ANN),
    "create with nothing": lambda k: admin(k).create_user({}),
    "create with a weak password": lambda k: admin(k).create_user({"email": "w@example.com", "password": "x"}),
    "get": lambda k: admin(k).get_user_by_id(k.seen["create"].user.id),
    "get nobody": lambda k: admin(k).get_user_by_id(NOBODY),
    "get what is no id": lambda k: admin(k).get_user_by_id("x"),
    "update": lambda k: admin(k).update_user_by_id(
        k.seen["create"].user.id, {"user_metadata": {"a": 2}, "app_metadata": {"c": 3}, "ban_duration": "1h"}
    ),
    "update nobody": lambda k: admin(k).update_user_by_id(NOBODY, {"user_metadata": {}}),
    "update what is no id": lambda k: admin(k).update_user_by_id("x", {"user_metadata": {}}),
    "sign in while banned": lambda k: auth(k).sign_in_with_password(ANN),
    "list": lambda k: admin(k).list_users(),
    "list a page": lambda k: admin(k).list_users(page=2, per_page=1),
    "invite": lambda k: admin(k).invite_user_by_email("invited@example.com"),
    "invite with options": lambda k: admin(k).invite_user_by_email(
        "second@example.com", {**REDIRECT, "data": {"from": "Ann"}}
    ),
    "invite twice": lambda k: admin(k).invite_user_by_email(ANN["email"]),
    "link for sign-up": lambda k: admin(k).generate_link({"type": "signup", **BEN, "options": REDIRECT}),
    "link for recovery": lambda k: admin(k).generate_link({"type": "recovery", "email": BEN["email"]}),
    "link by mail": lambda k: admin(k).generate_link({"type": "magiclink", "email": BEN["email"]}),
    "link for an invitation": lambda k: admin(k).generate_link({"type": "invite", "email": "third@example.com"}),
    "link for a new address": lambda k: admin(k).generate_link(
        {"type": "email_change_new", "email": BEN["email"], "new_email": "ben2@example.com"}
    ),
    "link of no kind": lambda k: admin(k).generate_link({"type": "nothing", "email": BEN["email"]}),
    "link of nobody": lambda k: admin(k).generate_link({"type": "recovery", "email": "nobody@example.com"}),
    "verify the link": lambda k: auth(k).verify_otp(
        {"token_hash": k.seen["link by mail"].properties.hashed_token, "type": "magiclink"}
    ),
    "factors": lambda k: admin(k).mfa.list_factors({"user_id": k.seen["create"].user.id}),
    "factors of what is no id": lambda k: admin(k).mfa.list_factors({"user_id": "x"}),
    "delete a factor": lambda k: admin(k).mfa.delete_factor({"user_id": k.seen["create"].user.id, "id": NOBODY}),
    "sign somebody out": lambda k: admin(k).sign_out(session(k, "verify the link").access_token),
    "sign out a broken token": lambda k: admin(k).sign_out("broken"),
    "delete softly": lambda k: admin(k).delete_user(k.seen["invite"].user.id, True),
    "delete": lambda k: admin(k).delete_user(k.seen["create"].user.id),
    "delete nobody": lambda k: admin(k).delete_user(NOBODY),
    "delete what is no id": lambda k: admin(k).delete_user("x"),
}

ANONYMOUS: dict[str, Call] = {
    "sign in": lambda k: auth(k).sign_in_anonymously(),
    "sign in with data": lambda k: auth(k).sign_in_anonymously({"options": {"data": {"a": 1}}}),
    "user": lambda k: auth(k).get_user(),
    "link": lambda k: auth(k).link_identity({"provider": "github"}),
    "become a user": lambda k: auth(k).update_user({"email": "anon@example.com"}),
    "sign out here": lambda k: auth(k).sign_out({"scope": "local"}),
}


def listen(kit: Kit) -> Any:
    heard: list[Any] = []
    kit.seen["heard"] = heard
    return auth(kit).on_auth_state_change(lambda event, found: heard.append([event, found is not None]))


EVENTS: dict[str, Call] = {
    "listen": listen,
    "sign up": lambda k: auth(k).sign_up(ANN),
    "update": lambda k: auth(k).update_user({"data": {"a": 1}}),
    "refresh": lambda k: auth(k).refresh_session(),
    "sign out": lambda k: auth(k).sign_out(),
    "sign in": lambda k: auth(k).sign_in_with_password(ANN),
    "heard": lambda k: list(k.seen["heard"]),
    "stop": lambda k: k.seen["listen"].unsubscribe(),
    "sign out unheard": lambda k: auth(k).sign_out(),
    "heard no more": lambda k: len(k.seen["heard"]),
    "reset": lambda k: k.seen["heard"].clear(),
}

SCENARIOS: tuple[Scenario, ...] = (
    scenario("auth.user", USER),
    scenario("auth.refuse", REFUSALS),
    scenario("auth.factors", FACTORS),
    scenario("auth.admin", ADMIN),
    scenario("auth.anonymous", ANONYMOUS),
    scenario("auth.events", EVENTS),
)
