"""What clients do while the network goes wrong: every kind of call, in numbered steps, each written down in a ``Tally``."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial

import httpx

from isobase._acompat import asleep
from isobase._async.client import AsyncClient
from isobase._http import call_options
from isobase.auth.errors import AuthApiError, AuthRetryableError
from isobase.postgrest import APIError
from isobase.storage.exceptions import StorageApiError
from isobase.storage.utils import StorageException
from tests.plugins.stack import Stack
from tests.sdk.faults._async.talk import AsyncTalk
from tests.sdk.faults.ledger import Tally

__all__ = ["AsyncLoad"]

# [async]
Work = Callable[[], Awaitable[object]]
# [/async]
# [sync] Work = Callable[[], object]

PASSWORD = "correct horse battery"
SMALL_BYTES = 120_000
PAUSE_S = 0.1


class AsyncLoad:
    """Clients of a network at ``url``. ``jobs`` are to be run beside each other; each ends after ``operations`` steps.

    servers_die: whether servers are killed too, so that their answers may be errors of theirs.
    """

    def __init__(
        self,
        stack: Stack,
        url: str,
        run: str,
        seed: int,
        *,
        operations: int,
        timeout_s: float,
        large_bytes: int,
        servers_die: bool,
    ) -> None:
        self.stack = stack
        self.url = url
        self.run = run
        self.seed = seed
        self.operations = operations
        self.timeout_s = timeout_s
        self.large_bytes = large_bytes
        self.servers_die = servers_die
        self.tally = Tally()
        self.data = AsyncClient(url, stack.service_role_key)
        self.member = AsyncClient(url, stack.anon_key)
        self.signed_out: list[str] = []
        self.user_id = ""
        self.talk = AsyncTalk(
            self.member, self.tally, messages=operations * 2, timeout_s=timeout_s, servers_die=servers_die
        )
        self.bucket = f"weather-{uuid.uuid4()}"
        self.contents: dict[str, bytes] = {}
        self.stored: set[str] = set()
        self.jobs: list[Work] = [
            self.insert,
            self.insert,
            self.insert_with_keys,
            self.insert_with_keys,
            self.insert_many,
            self.call_function,
            self.update,
            self.refresh,
            self.refresh,
            self.refresh,
            self.sign_in,
            self.keep_files,
            self.keep_large_files,
            self.talk.talk,
        ]

    async def begin(self) -> None:
        """Prepare in good weather."""
        await self.data.storage.create_bucket(self.bucket)
        with call_options(idempotency_key=str(uuid.uuid4())):  # asks whether the server keeps keys
            await self.data.table("weather_rows").insert({"run": "none", "tag": "none"}).execute()
        signed = await self.member.auth.sign_up({"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD})
        assert signed.user is not None
        self.user_id = signed.user.id
        await self.talk.begin()
        self.member.auth.on_auth_state_change(
            lambda event, _: self.signed_out.append(str(event)) if event == "SIGNED_OUT" else None
        )

    async def close(self) -> None:
        """Close the clients."""
        await self.talk.close()
        await self.data.aclose()
        await self.member.aclose()

    async def work(self, job: int) -> None:
        """Do one of the jobs."""
        await self.jobs[job]()

    async def _try(self, kind: str, call: Work, *, key: str | None = None, calls: int = 1) -> bool:
        """Make a call that has its time; gives whether it was answered. ``calls``: how many it makes, one after another."""
        began = time.monotonic()
        error: BaseException | None = None
        try:
            with call_options(timeout=self.timeout_s, idempotency_key=key):
                await call()
        except Exception as problem:
            error = problem
            if not self._is_expected(problem):
                raise
        finally:
            self.tally.ended(kind, began, self.timeout_s * calls, error)
        if self.servers_die:
            await asleep(PAUSE_S)  # their dying takes time
        return error is None

    def _is_expected(self, error: Exception) -> bool:
        """Whether a network that goes wrong, and servers that die, explain an error."""
        if isinstance(error, httpx.TransportError | AuthRetryableError):
            return True
        if isinstance(error, StorageApiError):
            return self.servers_die and int(error.http_status or 0) >= 500
        if isinstance(error, StorageException):
            return True
        if isinstance(error, APIError):
            return self.servers_die and str(error.code)[:2] in {"08", "57", "50", "PG", "XX", "53"}
        return self.servers_die and isinstance(error, AuthApiError) and error.status >= 500

    # the data API

    async def _write(
        self,
        kind: str,
        done: list[tuple[str, str, int]],
        call: Work,
        key: str | None = None,
    ) -> bool:
        with self.tally.lock:
            self.tally.asked.update(done)
        answered = await self._try(kind, call, key=key)
        if answered:
            with self.tally.lock:
                self.tally.acknowledged.update(done)
        return answered

    async def insert(self) -> None:
        """Rows one by one, without keys: each at most once."""
        worker = uuid.uuid4().hex[:6]
        for number in range(self.operations):
            tag = f"plain {worker} {number}"
            await self._write(
                "insert",
                [("INSERT", tag, 0)],
                self.data.table("weather_rows").insert({"run": self.run, "tag": tag}).execute,
            )

    async def insert_with_keys(self) -> None:
        """Rows one by one, each asked for under its key until it is answered: each exactly once."""
        worker = uuid.uuid4().hex[:6]
        for number in range(self.operations):
            tag = f"keyed {worker} {number}"
            for _ in range(3):
                if await self._write(
                    "insert with a key",
                    [("INSERT", tag, 0)],
                    self.data.table("weather_rows").insert({"run": self.run, "tag": tag}).execute,
                    key=f"{self.run} {tag}",
                ):
                    break

    async def insert_many(self) -> None:
        """Several rows by one call: all of them or none."""
        for number in range(self.operations):
            tags = [f"many {number} {part}" for part in range(3)]
            rows = [{"run": self.run, "tag": tag} for tag in tags]
            await self._write(
                "insert of many",
                [("INSERT", tag, 0) for tag in tags],
                self.data.table("weather_rows").insert(rows).execute,
                key=f"{self.run} many {number}" if number % 2 else None,
            )

    async def call_function(self) -> None:
        """A function that inserts, with keys and without."""
        for number in range(self.operations):
            tag = f"function {number}"
            await self._write(
                "rpc",
                [("INSERT", tag, 0)],
                self.data.rpc("weather_add", {"run": self.run, "tag": tag}).execute,
                key=f"{self.run} {tag}" if number % 2 else None,
            )

    async def update(self) -> None:
        """One row gets new values, and is read in between."""
        if not await self._write(
            "insert",
            [("INSERT", "updated", 0)],
            self.data.table("weather_rows").insert({"run": self.run, "tag": "updated"}).execute,
            key=f"{self.run} updated",
        ):
            return
        for value in range(1, self.operations):
            await self._write(
                "update",
                [("UPDATE", "updated", value)],
                self.data.table("weather_rows")
                .update({"value": value})
                .eq("run", self.run)
                .eq("tag", "updated")
                .execute,
                key=f"{self.run} updated {value}" if value % 2 else None,
            )
            await self._try("read", self._read)

    async def _read(self) -> None:
        answer = (
            await self.data.table("weather_rows").select("run, tag").eq("run", self.run).eq("tag", "updated").execute()
        )
        assert answer.data == [{"run": self.run, "tag": "updated"}]

    # sessions

    async def refresh(self) -> None:
        """The tokens of one session are exchanged by several at once; it is the same user's all the time."""
        for _ in range(self.operations):
            await self._try("refresh", self._refresh)
            await self._try("user", self._user)

    async def _refresh(self) -> None:
        refreshed = await self.member.auth.refresh_session()
        assert refreshed.user is not None
        assert refreshed.user.id == self.user_id

    async def _user(self) -> None:
        found = await self.member.auth.get_user()
        assert found is not None
        assert found.user.id == self.user_id

    async def sign_in(self) -> None:
        """Users sign up, and in with a client of their own."""
        for _ in range(max(1, self.operations // 4)):
            email = f"{uuid.uuid4()}@example.com"
            async with AsyncClient(self.url, self.stack.anon_key) as client:
                if await self._try("sign up", partial(client.auth.sign_up, {"email": email, "password": PASSWORD})):
                    await self._try("sign out", client.auth.sign_out)
                    await self._try(
                        "sign in", partial(client.auth.sign_in_with_password, {"email": email, "password": PASSWORD})
                    )

    # files

    async def keep_files(self) -> None:
        """Small files by one request."""
        for number in range(self.operations):
            await self._keep(
                f"small {number}.bin", random.Random(f"{self.seed} {number}").randbytes(SMALL_BYTES), resumable=False
            )

    async def keep_large_files(self) -> None:
        """Files by the resumable protocol."""
        for number in range(max(1, self.operations // 4)):
            await self._keep(
                f"large {number}.bin",
                random.Random(f"{self.seed} large {number}").randbytes(self.large_bytes),
                resumable=True,
            )

    async def _keep(self, name: str, content: bytes, *, resumable: bool) -> None:
        files = self.data.storage.from_(self.bucket)
        self.contents[name] = content
        kind = "resumable upload" if resumable else "upload"
        if await self._try(kind, partial(files.upload, name, content, resumable=resumable)):
            self.stored.add(name)
            await self._try("download", partial(self._compare, name))

    async def _compare(self, name: str) -> None:
        assert await self.data.storage.from_(self.bucket).download(name) == self.contents[name], name

    # what came of it, in good weather

    async def check_files(self) -> None:
        """What was answered is there, and whatever is there is whole."""
        files = self.data.storage.from_(self.bucket)
        there = {file["name"] for file in await files.list(options={"limit": 1000})}
        assert self.stored <= there, f"files are lost: {self.stored - there}"
        for name in there:
            await self._compare(name)

    async def check_session(self) -> None:
        """Nobody was signed out, and the session goes on."""
        assert self.signed_out == []
        await self._refresh()
        await self._user()
