"""A user of the sample app: what it writes, reads and checks.

Each thing (a row, an object, another user) is written by one user alone, one fact after the other. A thing whose last
write failed is left alone from then on: whether that write counts is not known.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isobase_adapter import AsyncMigrationClient, answered
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from tests.adapter.app.facts import digest
from tests.adapter.app.journal import Journal
from tests.adapter.app.listening import Listener
from tests.adapter.pair import PASSWORD

__all__ = ["Registrar", "User", "UserPlan"]

WAIT_AFTER_ERROR_S = 0.2
Act = tuple[int, Callable[[], Awaitable[None]]]
"""Something a user does, and how often beside the others."""


@dataclass(slots=True, frozen=True)
class UserPlan:
    """A user: a name, and who signs in."""

    name: str
    id: str
    email: str
    access_token: str


class Registrar:
    """Signs other users up and in, one after the other: a client has one session."""

    def __init__(self, client: AsyncMigrationClient) -> None:
        self._client = client
        self._turns = asyncio.Lock()

    async def sign_up(self, credentials: Any) -> Any:
        """Somebody new."""
        async with self._turns:
            return await self._client.auth.sign_up(credentials)

    async def change(self, email: str, number: str) -> Any:
        """Somebody who is there signs in, and changes what is known of it."""
        async with self._turns:
            await self._client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
            return await self._client.auth.update_user({"data": {"number": number}})


class User:
    """One user. ``notes``: titles by id, ``values``: what each of its things is."""

    def __init__(
        self,
        plan: UserPlan,
        client: AsyncMigrationClient,
        journal: Journal,
        chance: random.Random,
        kinds: Sequence[str],
        registrar: Registrar,
        listener: Listener | None = None,
    ) -> None:
        self.name = plan.name
        self.plan = plan
        self.kinds = kinds
        self.client = client
        self.journal = journal
        self.chance = chance
        self.number = 0
        self.notes: dict[int, str] = {}
        self.orders: dict[str, list[int]] = {}
        self.values: dict[str, str] = {}
        self.registrar = registrar
        self.listener = listener
        self.emails: list[str] = []
        self.objects: list[str] = []

    async def enter(self) -> None:
        """Sign in, where auth moves too; else use the token that was given."""
        if "users" not in self.kinds:
            self.client.options.headers["Authorization"] = f"Bearer {self.plan.access_token}"
            self.client.postgrest.auth(self.plan.access_token)
            return
        await self.client.auth.sign_in_with_password({"email": self.plan.email, "password": PASSWORD})

        def heard(event: str, session: object) -> None:
            if event == "SIGNED_OUT" or session is None:
                self.journal.note("signed out", user=self.name, event=event)

        self.client.auth.on_auth_state_change(heard)

    async def act(self) -> None:
        """Write one fact, or read."""
        rows: list[Act] = [
            (5, self.insert_note),
            (3, self.insert_notes),
            (6, self.update_note),
            (2, self.delete_note),
            (3, self.place_order),
            (3, self.upsert_order),
            (2, self.add_line),
            (2, self.delete_order),
            (6, self.read_notes),
        ]
        functions: list[Act] = [(3, self.set_stock), (2, self.add_note)]
        people: list[Act] = [(2, self.sign_up), (2, self.change_user)]
        users: list[Act] = [*people, (1, self.refresh), (1, self.read_user)]
        objects: list[Act] = [(3, self.upload), (1, self.remove_object), (2, self.download)]
        kinds: dict[str, list[Act]] = {
            "rows": rows,
            "functions": functions,
            "people": people,
            "users": users,
            "objects": objects,
            "messages": [(3, self.say)],
        }
        acts = [act for kind in self.kinds for act in kinds[kind]]
        await self.chance.choices([act for _, act in acts], [weight for weight, _ in acts])[0]()

    def next(self) -> str:
        """The next number, as text."""
        self.number += 1
        return str(self.number)

    async def fact(
        self,
        what: str,
        effects: Mapping[str, str | None],
        call: Callable[[], Awaitable[Any]],
        *,
        needs_rows: bool = False,
    ) -> list[dict[str, Any]] | None:
        """Do a call as a fact; gives its rows, None where it failed.

        needs_rows: an answer of Supabase's in stage ``live`` that names no row says that nothing was changed: what Isobase
        took has not arrived there yet.
        """
        fact = self.journal.begin(self.name, what, effects)
        try:
            result = await call()
        except Exception as error:
            self.journal.fail(fact, error)
            for name in effects:
                self.values.pop(name, None)
            await asyncio.sleep(WAIT_AFTER_ERROR_S)
            return None
        answer = answered()
        is_elsewhere = answer is not None and (answer.side, answer.stage) == (Side.SUPABASE, Stage.LIVE)
        if needs_rows and is_elsewhere and not result.data:
            self.journal.fail(fact, LookupError("no row was changed"))
            for name in effects:
                self.values.pop(name, None)
            return None
        self.journal.acknowledge(fact, side=f"{answer.side} {answer.stage}" if answer is not None else "")
        for name, value in effects.items():
            if value is None:
                self.values.pop(name, None)
            else:
                self.values[name] = value
        data = getattr(result, "data", None)
        return data if isinstance(data, list) else []

    def amiss(self, what: str, **detail: Any) -> None:
        """Note an answer that cannot be right."""
        answer = answered()
        self.journal.note("amiss", user=self.name, what=what, answer=repr(answer), **detail)

    async def insert_note(self) -> None:
        """A number by the database's sequence."""
        title, body = f"{self.name}:{self.next()}", str(self.number)
        rows = await self.fact(
            "insert note",
            {f"notes/{title}": body},
            lambda: self.client.table("notes").insert({"title": title, "body": body}).execute(),
        )
        if rows is not None:
            self.notes[rows[0]["id"]] = title

    async def insert_notes(self) -> None:
        """Several at once."""
        titles = [f"{self.name}:{self.next()}" for _ in range(3)]
        given = [{"title": title, "body": "many"} for title in titles]
        rows = await self.fact(
            "insert notes",
            {f"notes/{title}": "many" for title in titles},
            lambda: self.client.table("notes").insert(given).execute(),
        )
        self.notes |= {row["id"]: row["title"] for row in rows or []}

    def _known_note(self) -> tuple[int, str] | None:
        known = [(key, title) for key, title in self.notes.items() if f"notes/{title}" in self.values]
        return self.chance.choice(known) if known else None

    async def update_note(self) -> None:
        """One of its own."""
        if (chosen := self._known_note()) is None:
            return
        key, title = chosen
        body = self.next()
        rows = await self.fact(
            f"update note {key}",
            {f"notes/{title}": body},
            lambda: self.client.table("notes").update({"body": body}).eq("id", key).execute(),
            needs_rows=True,
        )
        if rows is not None and [row["title"] for row in rows] != [title]:
            self.amiss("update", key=key, title=title, rows=rows)

    async def delete_note(self) -> None:
        """One of its own."""
        if (chosen := self._known_note()) is None:
            return
        key, title = chosen
        rows = await self.fact(
            f"delete note {key}",
            {f"notes/{title}": None},
            lambda: self.client.table("notes").delete().eq("id", key).execute(),
            needs_rows=True,
        )
        self.notes.pop(key)
        if rows is not None and [row["title"] for row in rows] != [title]:
            self.amiss("delete", key=key, title=title, rows=rows)

    async def add_note(self) -> None:
        """By a function of the database."""
        title, body = f"{self.name}:{self.next()}", str(self.number)
        rows = await self.fact(
            "add note",
            {f"notes/{title}": body},
            lambda: self.client.rpc("add_note", {"title": title, "body": body}).execute(),
        )
        if rows is not None:
            self.notes[rows[0]["id"]] = title

    async def place_order(self) -> None:
        """A key by the app, generated columns, a trigger that writes elsewhere."""
        key, net = str(uuid.UUID(int=self.chance.getrandbits(128), version=4)), self.next()
        rows = await self.fact(
            "insert order",
            {f"orders/{key}": net},
            lambda: self.client.table("orders").insert({"id": key, "net": int(net)}).execute(),
        )
        if rows is not None:
            self.orders[key] = []

    async def upsert_order(self) -> None:
        """A new one, or one that is there."""
        known = [key for key in self.orders if f"orders/{key}" in self.values]
        if not known:
            return
        key, net = self.chance.choice(known), self.next()
        await self.fact(
            f"upsert order {key}",
            {f"orders/{key}": net},
            lambda: self.client.table("orders").upsert({"id": key, "net": int(net)}).execute(),
        )

    async def add_line(self) -> None:
        """A key of two columns."""
        known = [key for key in self.orders if f"orders/{key}" in self.values]
        if not known:
            return
        key, amount = self.chance.choice(known), self.next()
        line = len(self.orders[key]) + 1
        self.orders[key].append(line)
        row = {"order_id": key, "line_no": line, "article": "pen", "amount": int(amount)}
        await self.fact(
            f"insert line {line} of {key}",
            {f"lines/{key}/{line}": amount},
            lambda: self.client.table("order_lines").insert(row).execute(),
        )

    async def delete_order(self) -> None:
        """Its lines go with it."""
        known = [key for key in self.orders if f"orders/{key}" in self.values]
        if len(known) < 3:
            return
        key = self.chance.choice(known)
        lines = self.orders.pop(key)
        effects = {f"orders/{key}": None} | {f"lines/{key}/{line}": None for line in lines}
        await self.fact(
            f"delete order {key}",
            effects,
            lambda: self.client.table("orders").delete().eq("id", key).execute(),
            needs_rows=True,
        )

    async def set_stock(self) -> None:
        """A function that may be called twice."""
        article, amount = f"{self.name}-{self.chance.randrange(1000000)}", self.next()
        await self.fact(
            "set stock",
            {f"stock/{article}": amount},
            lambda: self.client.rpc("set_stock", {"article": article, "amount": int(amount)}).execute(),
        )

    async def read_notes(self) -> None:
        """Its own rows must be what it was told that they are."""
        expected = {
            title: self.values[f"notes/{title}"] for title in self.notes.values() if f"notes/{title}" in self.values
        }
        asked = self.chance.sample(sorted(expected), min(len(expected), 20))
        try:
            result = await self.client.table("notes").select("title, body").in_("title", asked).execute()
        except Exception as error:
            self.journal.note("failed read", user=self.name, error=f"{type(error).__name__}: {error}"[:600])
            return
        rows: list[Any] = result.data
        found = {row["title"]: row["body"] for row in rows}
        wrong = {title: (found.get(title), expected[title]) for title in asked if found.get(title) != expected[title]}
        answer = answered()
        if wrong:
            # An answer that may lack what is on its way says so.
            is_flagged = answer is not None and (answer.is_fallback or answer.is_behind)
            self.journal.note(
                "flagged stale" if is_flagged else "stale", user=self.name, wrong=wrong, answer=repr(answer)
            )

    async def say(self) -> None:
        """Tell every listener something."""
        assert self.listener is not None
        listener, message = self.listener, str(uuid.uuid4())
        await self.fact(f"say {message}", {}, lambda: listener.say(message))

    async def sign_up(self) -> None:
        """Somebody new."""
        number, email = self.next(), f"fact-{self.name}-{self.number}-{self.chance.randrange(10**9)}@example.com"
        credentials: Any = {"email": email, "password": PASSWORD, "options": {"data": {"number": number}}}
        if (
            await self.fact("sign up", {f"users/{email}": number}, lambda: self.registrar.sign_up(credentials))
            is not None
        ):
            self.emails.append(email)

    async def change_user(self) -> None:
        """Somebody who signed up before signs in, and changes what is known of it."""
        known = [email for email in self.emails if f"users/{email}" in self.values]
        if not known:
            return
        email, number = self.chance.choice(known), self.next()
        await self.fact(
            f"change user {email}", {f"users/{email}": number}, lambda: self.registrar.change(email, number)
        )

    async def refresh(self) -> None:
        """Its own session goes on."""
        await self.fact("refresh", {}, self.client.auth.refresh_session)

    async def read_user(self) -> None:
        """It is still who it was."""
        found: list[Any] = []

        async def read() -> None:
            found.append(await self.client.auth.get_user())

        if await self.fact("read user", {}, read) is not None and (
            found[0] is None or found[0].user.id != self.plan.id
        ):
            self.amiss("read user", found=repr(found[0])[:200])

    async def upload(self) -> None:
        """A new object, or another content of one that is there."""
        key = f"{self.plan.id}/{self.name}-{self.chance.randrange(5)}.txt"
        name = f"papers/{key}"
        if name in self.values or key not in self.objects:
            content = (f"{self.next()} " * self.chance.randrange(1, 2000)).encode()
            self.objects = [*self.objects, key] if key not in self.objects else self.objects
            bucket = self.client.storage.from_("papers")
            await self.fact(
                f"upload {key}",
                {name: digest(content)},
                lambda: bucket.upload(key, content, {"upsert": "true", "content-type": "text/plain"}),
            )

    def _known_object(self) -> str | None:
        known = [key for key in self.objects if f"papers/{key}" in self.values]
        return self.chance.choice(known) if known else None

    async def remove_object(self) -> None:
        """One of its own."""
        if (key := self._known_object()) is not None:
            self.objects.remove(key)
            await self.fact(
                f"remove {key}", {f"papers/{key}": None}, lambda: self.client.storage.from_("papers").remove([key])
            )

    async def download(self) -> None:
        """One of its own must be what it was told that it is."""
        if (key := self._known_object()) is None:
            return
        try:
            content = await self.client.storage.from_("papers").download(key)
        except Exception as error:
            self.journal.note("failed read", user=self.name, key=key, error=f"{type(error).__name__}: {error}"[:600])
            return
        answer = answered()
        # An answer that may lack what is on its way says so.
        is_flagged = answer is not None and (answer.is_fallback or answer.is_behind)
        if digest(content) != self.values[f"papers/{key}"] and not is_flagged:
            self.amiss("download", key=key)
