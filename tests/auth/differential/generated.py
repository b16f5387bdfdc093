"""Requests of a seeded generator: per endpoint a body of fields that are right, wrong, missing or of another type."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.auth.differential.asking import PASSWORD, Asking, role_token
from tests.auth.differential.scenarios.registry import Play

__all__ = ["AREAS", "Area", "generated_play"]

REQUESTS_PER_SEQUENCE = 15
WRONG_SHARE = 0.2
LEFT_OUT_SHARE = 0.3
BROKEN_SHARE = 0.05

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
NOBODY = "6f2a9f9e-0000-4000-8000-000000000000"
_OTHER_TYPES: tuple[object, ...] = (None, 5, True, [], {}, ["x"], {"a": 1}, 1.5, "")

_EMAIL = ("alice@example.com", "bob@example.com", "ALICE@Example.com", "new@example.com", "no address", "a@b", "x@y.z ")
_PHONE = ("15551230001", "+15551230002", "+1 555 123 0002", "x", "0155512300", "1555123000155512300")
_PASSWORD = (PASSWORD, "another password", "12345", "x" * 73, "é" * 40, "Correct horse 1")
_DATA: tuple[object, ...] = (
    {},
    {"a": 1},
    {"a": None, "b": {"c": [1]}},
    {"full_name": "Alice"},
    {"email_verified": True},
)
_CHALLENGE = (CHALLENGE, "x", "x" * 129)
_METHOD = ("s256", "plain", "S256")
_CHANNEL = ("sms", "whatsapp", "pigeon")
_CODE = ("123456", "000000", "12345", "x")
_HASH = ("a" * 56, "pkce_" + "a" * 56, "x")
_KINDS = ("signup", "magiclink", "recovery", "invite", "email_change", "email", "sms", "phone_change", "nonsense")
_LINK_KINDS = (*_KINDS[:4], "email_change_current", "email_change_new", "nonsense")
_PKCE = {"code_challenge": _CHALLENGE, "code_challenge_method": _METHOD}
_ADMIN_USER: Mapping[str, tuple[object, ...]] = {
    "email": _EMAIL,
    "phone": _PHONE,
    "password": _PASSWORD,
    "email_confirm": (True, False),
    "phone_confirm": (True, False),
    "user_metadata": _DATA,
    "app_metadata": ({}, {"roles": ["x"]}, {"provider": "x"}, {"a": None}),
    "role": ("authenticated", "editor"),
    "ban_duration": ("24h", "none", "1d", "1.5h", "x", "5"),
}


@dataclass(slots=True, frozen=True)
class Area:
    """An endpoint: its fields with values to choose from. ``caller``: whose token goes with it."""

    method: str
    path: str
    fields: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    caller: str = ""
    queries: tuple[str, ...] = ("",)


AREAS: Mapping[str, Area] = {
    "signup": Area(
        "POST",
        "/signup",
        {"email": _EMAIL, "phone": _PHONE[:1], "password": _PASSWORD, "data": _DATA, "channel": _CHANNEL, **_PKCE},
    ),
    "password": Area("POST", "/token?grant_type=password", {"email": _EMAIL, "phone": _PHONE, "password": _PASSWORD}),
    "refresh": Area("POST", "/token?grant_type=refresh_token", {"refresh_token": ("{refresh}", "abcdefghijkl", "x")}),
    "pkce": Area("POST", "/token?grant_type=pkce", {"auth_code": (NOBODY, "x"), "code_verifier": (CHALLENGE, "x")}),
    "otp": Area(
        "POST",
        "/otp",
        {"email": _EMAIL, "phone": _PHONE, "create_user": (True, False), "data": _DATA, "channel": _CHANNEL, **_PKCE},
    ),
    "recover": Area("POST", "/recover", {"email": _EMAIL, **_PKCE}),
    "resend": Area("POST", "/resend", {"type": _KINDS, "email": _EMAIL, "phone": _PHONE}),
    "verify": Area(
        "POST",
        "/verify",
        {"type": _KINDS, "email": _EMAIL, "phone": _PHONE, "token": _CODE, "token_hash": _HASH},
    ),
    "user": Area(
        "PUT",
        "/user",
        {"email": _EMAIL, "phone": _PHONE, "password": _PASSWORD, "data": _DATA, "nonce": _CODE, "channel": _CHANNEL},
        caller="user",
    ),
    "factors": Area(
        "POST",
        "/factors",
        {"factor_type": ("totp", "phone", "nonsense"), "friendly_name": ("a", "b"), "phone": _PHONE, "issuer": ("x",)},
        caller="user",
    ),
    "generate_link": Area(
        "POST",
        "/admin/generate_link",
        {"type": _LINK_KINDS, "email": _EMAIL, "new_email": _EMAIL, "password": _PASSWORD, "data": _DATA},
        caller="admin",
    ),
    "invite": Area("POST", "/invite", {"email": _EMAIL, "data": _DATA}, caller="admin"),
    "create_user": Area("POST", "/admin/users", {**_ADMIN_USER, "id": (NOBODY, "x")}, caller="admin"),
    "update_user": Area("PUT", "/admin/users/{user}", _ADMIN_USER, caller="admin"),
    "list_users": Area(
        "GET",
        "/admin/users",
        caller="admin",
        queries=(
            "",
            "?page=2&per_page=1",
            "?page=x",
            "?filter=alice",
            "?sort=created_at asc",
            "?sort=x",
            "?per_page=-1",
        ),
    ),
    "logout": Area("POST", "/logout", caller="user", queries=("", "?scope=local", "?scope=others", "?scope=x")),
}


def generated_play(area: Area, seed: str) -> Play:
    """A sequence of requests to an endpoint; the same for the same seed."""

    def play(auth: Asking) -> None:
        choice = random.Random(seed)
        auth.admin("POST", "/admin/users", {"email": "bob@example.com", "phone": "15551230002", "phone_confirm": True})
        alice = {"email": "alice@example.com", "password": PASSWORD, "email_confirm": True}
        user_id = auth.admin("POST", "/admin/users", alice).user_id
        session = auth.sign_in()
        for _ in range(REQUESTS_PER_SEQUENCE):
            path = (area.path + choice.choice(area.queries)).replace("{user}", user_id)
            body = _body(area, choice)
            version = choice.choice((None, None, "2024-01-01"))
            caller = area.caller if choice.random() > BROKEN_SHARE else choice.choice(("", "anon", "user", "admin"))
            token = {"user": session.token, "admin": auth.admin_token, "anon": role_token("anon"), "": None}[caller]
            if isinstance(body, bytes):
                body = body.replace(b"{refresh}", session.refresh_token.encode())
            auth.ask(area.method, path, body, token=token, version=version)

    return play


def _body(area: Area, choice: random.Random) -> bytes | None:
    if not area.fields:
        return None
    chosen: dict[str, object] = {}
    for name, values in area.fields.items():
        if choice.random() < LEFT_OUT_SHARE + 0.05 * len(area.fields):
            continue
        is_wrong = choice.random() < WRONG_SHARE
        chosen[name] = choice.choice(_OTHER_TYPES) if is_wrong else choice.choice(values)
    text = json.dumps(chosen)
    if choice.random() < BROKEN_SHARE:
        text = choice.choice((text[:-1], text + "x", text + " {}", "", f"[{text}]"))
    return text.encode()
