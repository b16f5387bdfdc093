"""The one door to the database for users' statements: a transaction that carries a role and its claims.

Every connection logs in as ``authenticator``, a role that owns nothing and may do nothing but become anon, authenticated
or service_role. ``RlsDoor.transaction`` opens a transaction, sets role, claims and request facts local to it, and hands out
a ``DoorConnection``; nothing else in the code base uses that pool.

Round trips: ``RlsDoor.once`` takes one for settings, statements and commit, and does not wait for the resets that follow.
``RlsDoor.settled`` takes two, as what it ends with depends on what the statements gave.
``RlsDoor.transaction`` takes one for ``BEGIN`` with all settings, one per statement, one for ``COMMIT`` together with the
resets that prove the connection clean; a transaction that raises is rolled back the same way. A connection whose state is
not known, because the request was cancelled or the reset failed, is closed and never used again.

Source: PostgREST ``Query/PreQuery.hs`` for the settings and their order; contracts/storage.md 1.7; contracts/auth.md 3.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import asyncpg

from isobase_platform.caller import Caller
from isobase_platform.config import Settings
from isobase_platform.door_connection import DoorConnection
from isobase_platform.door_many import Answer, ask_for_each
from isobase_platform.door_rehearsal import Act, rehearse
from isobase_platform.door_resets import (
    CLEAN,
    CLEAN_AFTER_READ,
    CLEAN_AFTER_WRITE,
    MAX_TRIES,
    ROLL_BACK_AND_CLEAN,
    STALE_STATEMENTS,
)
from isobase_platform.door_settled import Settle, settle_transaction
from isobase_platform.errors import BadRequest, DatabaseError, IsobaseError, Unavailable, database_error
from isobase_platform.pool import (
    CONNECT_TIMEOUT_S,
    DATABASE_FAILURES,
    LOST_CONNECTION_FAILURES,
    application_name,
    discard,
)
from isobase_platform.set_config import path_text, set_configs, set_configs_statement
from isobase_platform.sql import quote_identifier
from isobase_platform.wire import After, WireConnection
from isobase_platform.wire_messages import Row, Step, packed
from isobase_platform.wire_pool import WirePool

__all__ = ["LOGIN_ROLE", "Act", "Answer", "DoorConnection", "RlsDoor"]

LOGIN_ROLE = "authenticator"
MAX_REMEMBERED_STEPS = 512
MAX_REMEMBERED_STEP_BYTES = 8192
ROLE_SETTINGS_LIFE_S = 60.0
"""How long the per-role settings (statement_timeout ...) read from pg_db_role_setting are believed."""

_ISOLATION_LEVELS = {"repeatable read": "REPEATABLE READ", "serializable": "SERIALIZABLE"}

# A role's own settings are applied by PostgreSQL at login only; these may be set by whoever became the role (PostgREST
# does the same). Others, such as log_statement, need a superuser and are left alone, unless the login role was granted them.
_ROLE_SETTINGS_SQL = """
select r.rolname, lower(split_part(c.setting, '=', 1)), substring(c.setting from position('=' in c.setting) + 1)
  from pg_catalog.pg_db_role_setting s
  join pg_catalog.pg_roles r on r.oid = s.setrole
  cross join lateral unnest(s.setconfig) as c (setting)
  join pg_catalog.pg_settings g on g.name = lower(split_part(c.setting, '=', 1))
                                 and (g.context = 'user' or g.context = 'superuser'
                                        and pg_catalog.has_parameter_privilege(session_user, g.name, 'set'))
 where s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
   and pg_catalog.pg_has_role(session_user, r.oid, 'member')
   and r.rolname <> session_user
   and lower(split_part(c.setting, '=', 1)) not in ('role', 'session_authorization', 'search_path')
 order by s.setdatabase
"""


class RlsDoor:
    """Hands out transactions on behalf of callers. One per process, made by ``runtime``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._is_pooled = settings.database.mode == "transaction_pooler"
        self._pool = WirePool(
            self._connect,
            max_size=settings.database.pool_max_size,
            acquire_timeout_s=settings.database.acquire_timeout_s,
            max_idle_s=settings.database.pool_max_idle_s,
            max_life_s=settings.database.pool_max_life_s,
        )
        self._role_settings: Mapping[str, Mapping[str, str]] = {}
        self._role_settings_at_s = float("-inf")
        self._first_steps: dict[Hashable, Step] = {}

    async def _connect(self) -> WireConnection:
        connection: WireConnection = await asyncpg.connect(
            self._settings.dsn(LOGIN_ROLE),
            connection_class=WireConnection,
            timeout=CONNECT_TIMEOUT_S,
            statement_cache_size=0 if self._is_pooled else 100,
            max_cached_statement_lifetime=0,
            server_settings=application_name(self._settings.dsn(LOGIN_ROLE), f"isobase {LOGIN_ROLE}"),
        )
        connection.uses_statements = not self._is_pooled
        return connection

    async def close(self) -> None:
        """Close the connections, also those in use."""
        await self._pool.close()

    def renew_connections(self) -> None:
        """Log in anew before the next use of each connection; those in use are closed when they come back."""
        self._pool.renew()

    @property
    def pool_waits(self) -> tuple[int, int]:
        """(callers that wait for a connection now, those that waited in vain so far), for the metrics."""
        return self._pool.waits

    @property
    def pool_sizes(self) -> tuple[int, int]:
        """(connections open, of which free), for the metrics."""
        return self._pool.sizes

    async def once(
        self,
        caller: Caller,
        steps: Sequence[Step],
        *,
        read_only: bool = False,
        search_path: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> list[list[Row]]:
        """Run ``steps`` as one transaction of ``caller`` in one round trip; the rows of each step, columns as bytes.

        Parameters as ``transaction``; values travel as text of types that PostgreSQL infers. When it returns, all is
        committed; when it raises, nothing is kept. Errors as ``transaction``. Behind a transaction pooler the same takes a
        round trip per step, because a pooler may hand the session on between the commit and the resets; so it does for a role
        or function with an isolation level of its own, which only BEGIN can set.
        """
        if time.monotonic() - self._role_settings_at_s >= ROLE_SETTINGS_LIFE_S:
            await self._read_role_settings()
        if self._is_pooled or self._isolation(caller, settings or {}) is not None:
            async with self.transaction(
                caller, read_only=read_only, search_path=search_path, settings=settings
            ) as transaction:
                return [await transaction.run(*step) for step in steps]
        all_steps = (self._first_step(caller, read_only, tuple(search_path), settings or {}), *steps)
        tries = MAX_TRIES
        while True:
            tries -= 1
            connection = self._pool.take() or await self._pool.acquire()
            try:
                if read_only:
                    rows = await connection.pipeline(all_steps, group=caller.role, silent=CLEAN_AFTER_READ)
                    self._pool.release(connection)
                else:
                    rows = await connection.pipeline(all_steps, group=caller.role, after=self._resets(connection))
            except asyncpg.PostgresError as error:
                if read_only:
                    self._clean_up_after_error(connection)
                if tries and isinstance(error, STALE_STATEMENTS):
                    connection.forget_statements()
                    continue
                raise database_error(error) from error
            except LOST_CONNECTION_FAILURES as error:
                if read_only:
                    self._pool.release(connection)
                # The server went away. Whether a write was committed cannot be known; a read may be asked again.
                if tries and read_only:
                    continue
                raise database_error(error) from error
            except BaseException:
                discard(connection)  # cancelled: what the server does meanwhile is nobody's any more
                if read_only:
                    self._pool.release(connection)
                raise
            return rows[1:]

    async def ask_for_each(
        self,
        callers: Sequence[Caller],
        question: str,
        parameters: Sequence[str | None],
        *,
        search_path: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> list[Answer]:
        """Ask ``question`` as each of ``callers``, who have one role, in one round trip; the answers in their order.

        ``question`` is a SELECT of one text whose parameters are cast where they stand. It may not write. What it raises for
        one caller is that caller's answer. Errors as ``transaction``, among them a time limit, which is that of all together.
        """
        await self._read_role_settings()
        identities = [self._identity(caller, settings or {}) for caller in callers]
        return await ask_for_each(self.once, callers, identities, question, parameters, search_path, settings)

    async def rehearse(self, acts: Sequence[Act]) -> list[list[Row]]:
        """Run the steps of ``acts`` in one transaction and one round trip, each act as its caller, and keep nothing.

        Returns the rows of each step, in order; values as ``once``. Errors as ``transaction``. Behind a transaction pooler it
        takes a round trip per step.
        """
        await self._read_role_settings()
        first = acts[0]
        if self._is_pooled:
            rows: list[list[Row]] = []
            async with self.transaction(first.caller, rollback=True, settings=first.settings) as transaction:
                for act in acts:
                    if act is not first:
                        await transaction.switch(act.caller, settings=act.settings)
                    rows += [await transaction.run(*step) for step in act.steps]
            return rows
        level = self._isolation(first.caller, first.settings)
        steps: list[Step] = [("BEGIN" if level is None else f"BEGIN ISOLATION LEVEL {level}", ())]
        wanted: list[int] = []
        for place, act in enumerate(acts):
            if place:
                steps += [(sql, ()) for sql in self._defaults(acts[place - 1].caller, act.caller)]
            steps.append(self._first_step(act.caller, read_only=False, search_path=(), settings=act.settings))
            wanted += range(len(steps), len(steps) + len(act.steps))
            steps += act.steps
        answers = await rehearse(self._pool, steps, acts[-1].caller.role, ROLL_BACK_AND_CLEAN)
        return [answers[place] for place in wanted]

    async def settled(
        self,
        caller: Caller,
        first: Sequence[Step],
        steps: Sequence[Step],
        settle: Settle,
        *,
        search_path: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Run ``steps`` as one transaction of ``caller``, within what the login role does before and behind them.

        ``first`` comes before the caller's role is taken; ``settle`` is given the rows of ``steps`` and says what comes last.
        Two round trips. Other parameters and errors as ``transaction``, and what ``settle`` raises: nothing is kept then.
        """
        await self._read_role_settings()
        wanted = settings or {}
        level = self._isolation(caller, wanted)
        begin: Step = ("BEGIN" if level is None else f"BEGIN ISOLATION LEVEL {level}", ())
        # Not remembered: what must happen once comes with headers of its own.
        identity = self._made_first_step(caller, False, tuple(search_path), wanted)
        leading = 2 + len(first)
        await settle_transaction(
            self._pool,
            [begin, *first, identity, *steps],
            # The caller's role holds again at COMMIT: deferred triggers run there, before PostgreSQL 18 as whoever commits.
            lambda rows: [self.role_step("none"), *settle(rows[leading:]), self.role_step(caller.role)],
            caller.role,
            is_pooled=self._is_pooled,
        )

    @staticmethod
    def role_step(role: str) -> Step:
        """A step of ``once`` behind which statements have the rights of ``role``; claims and settings stay the caller's."""
        return set_configs_statement(("role",)), packed((role,))

    def _resets(self, connection: WireConnection) -> After:
        """Nobody waits for the resets, but nobody gets the connection either before they have succeeded."""
        return After(CLEAN_AFTER_WRITE, partial(self._pool.release, connection))

    def _clean_up_after_error(self, connection: WireConnection) -> None:
        """Send the resets that an error made the server skip; they give the connection back."""
        if connection.is_closed():
            self._pool.release(connection)
        else:
            connection.send_after(self._resets(connection))

    @asynccontextmanager
    async def transaction(
        self,
        caller: Caller,
        *,
        read_only: bool = False,
        rollback: bool = False,
        search_path: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> AsyncIterator[DoorConnection]:
        """A transaction that runs as ``caller.role`` with the caller's claims and request facts.

        Parameters: ``read_only`` refuses writes (SQLSTATE 25006); ``rollback`` ends with ROLLBACK though the block
        succeeded; ``search_path`` schemas in order; ``settings`` further ones, local to the transaction. Committed when
        the block ends, rolled back when it raises. Errors: ``Unavailable`` when no connection is free within
        ``database.acquire_timeout_s`` or the server is gone; ``DatabaseError`` 22023 for a role that does not exist and
        42501 for one that authenticator may not become, and whatever COMMIT raises (deferred constraints).
        """
        await self._read_role_settings()
        prologue = self._prologue(caller, read_only, search_path, settings or {})
        connection = await self._pool.acquire()
        door_connection = DoorConnection(connection, self, caller)
        is_clean = False
        try:
            try:
                await connection.settle()
                await connection.execute(prologue)
                yield door_connection
                if door_connection.is_aborted:
                    # COMMIT would silently roll back: whoever swallowed the error would report a write that never was.
                    raise IsobaseError("A statement failed and its error was swallowed inside the transaction")
            except DATABASE_FAILURES as error:
                is_clean = await self._roll_back(connection)
                raise database_error(error) from error
            except Exception:
                is_clean = await self._roll_back(connection)
                raise
            if rollback:
                is_clean = await self._roll_back(connection)
                return
            try:
                await connection.execute(f"COMMIT; {CLEAN}")
                is_clean = not connection.is_in_transaction()
            except DATABASE_FAILURES as error:
                # A deferred constraint, or the connection is gone: nothing was committed by what was refused.
                is_clean = await self._roll_back(connection)
                raise database_error(error) from error
        finally:
            # A cancelled request (CancelledError is no Exception) ends here with is_clean False: what the server is
            # doing is unknown, so the connection dies and PostgreSQL rolls back.
            if not is_clean:
                discard(connection)
            self._pool.release(connection)

    @staticmethod
    async def _roll_back(connection: WireConnection) -> bool:
        """Roll back and clean the session in one round trip; True when both are proven. Never raises for the database."""
        try:
            await connection.execute(f"ROLLBACK; {CLEAN}")
        except DATABASE_FAILURES:
            return False
        return not connection.is_in_transaction()

    def _prologue(
        self, caller: Caller, read_only: bool, search_path: Sequence[str], settings: Mapping[str, str]
    ) -> str:
        """The transaction's first message."""
        path = [("search_path", path_text(tuple(search_path)))] if search_path else []
        level = self._isolation(caller, settings)
        begin = "BEGIN" if level is None else f"BEGIN ISOLATION LEVEL {level}"
        mode = " READ ONLY" if read_only else ""
        return f"{begin}{mode}; {set_configs([*path, *self._identity(caller, settings)])}"

    def _isolation(self, caller: Caller, settings: Mapping[str, str]) -> str | None:
        """The isolation level that the function called or the role asks for; None for PostgreSQL's default."""
        name = "default_transaction_isolation"
        level = settings.get(name) or self._role_settings.get(caller.role, {}).get(name)
        return _ISOLATION_LEVELS.get(level.lower()) if level else None

    def _first_step(
        self, caller: Caller, read_only: bool, search_path: tuple[str, ...], settings: Mapping[str, str]
    ) -> Step:
        """The same for ``once``, as one prepared statement: all of an exchange is one transaction without BEGIN.

        A client asks again and again with the same claims and headers: such steps are remembered, unless they are long.
        """
        request = caller.request
        claims, path, headers = caller.claims.json, request.path, request.headers_json
        also = tuple(settings.items()) if settings else ()
        key = (caller.role, read_only, search_path, claims, request.method, path, headers, request.cookies_json, also)
        step = self._first_steps.get(key)
        if step is None:
            step = self._made_first_step(caller, read_only, search_path, settings)
            if len(step[1]) <= MAX_REMEMBERED_STEP_BYTES:
                if len(self._first_steps) >= MAX_REMEMBERED_STEPS:
                    self._first_steps.clear()
                self._first_steps[key] = step
        return step

    def _made_first_step(
        self, caller: Caller, read_only: bool, search_path: tuple[str, ...], settings: Mapping[str, str]
    ) -> Step:
        identity = self._identity(caller, settings)
        if search_path:
            identity.insert(0, ("search_path", path_text(search_path)))
        if read_only:
            identity.insert(0, ("transaction_read_only", "on"))
        names, values = zip(*identity, strict=True)
        return set_configs_statement(names), packed(values)

    def identity_change(self, before: Caller, after: Caller, settings: Mapping[str, str]) -> str:
        """The message that turns a transaction of ``before`` into one of ``after``; for ``DoorConnection.switch``.

        A setting that only the role before brings along (statement_timeout ...) falls back to the login role's.
        """
        return "; ".join([*self._defaults(before, after), set_configs(self._identity(after, settings))])

    def _defaults(self, before: Caller, after: Caller) -> list[str]:
        dropped = self._role_settings.get(before.role, {}).keys() - self._role_settings.get(after.role, {}).keys()
        return [f"SET LOCAL {quote_identifier(name)} TO DEFAULT" for name in sorted(dropped)]

    def _identity(self, caller: Caller, settings: Mapping[str, str]) -> list[tuple[str, str]]:
        """Everything that says who calls, as settings and their values. The order matters.

        The role's own settings come before the role is taken, as the login role may set them all; the role comes last
        but for what the request chose itself, so that a setting's check runs with the rights of authenticator.
        """
        if not caller.role:
            raise BadRequest("The role must not be empty", code="22023")
        request = caller.request
        return [
            *self._role_settings.get(caller.role, {}).items(),
            ("request.jwt.claims", caller.claims.json),
            ("request.method", request.method),
            ("request.path", request.path),
            ("request.headers", request.headers_json),
            ("request.cookies", request.cookies_json),
            *settings.items(),
            ("role", caller.role),
        ]

    async def _read_role_settings(self) -> None:
        """Refresh the roles' own settings when they are older than ``ROLE_SETTINGS_LIFE_S``."""
        now = time.monotonic()
        if now - self._role_settings_at_s < ROLE_SETTINGS_LIFE_S:
            return
        self._role_settings_at_s = now
        try:
            async with self._plain_connection() as connection:
                rows = await connection.fetch(_ROLE_SETTINGS_SQL)
        except BaseException:
            self._role_settings_at_s = float("-inf")
            raise
        found: dict[str, dict[str, str]] = {}
        for role, name, value in rows:
            found.setdefault(role, {})[name] = value
        self._role_settings = found
        self._first_steps.clear()

    def forget_role_settings(self) -> None:
        """Read the roles' settings again before the next statement (after ALTER ROLE ... SET)."""
        self._role_settings_at_s = float("-inf")

    async def can_connect(self, timeout_s: float = 2.0) -> bool:
        """True when the database answers within ``timeout_s`` seconds."""
        try:
            async with asyncio.timeout(timeout_s), self._plain_connection() as connection:
                await connection.fetchval("select 1")
        except (TimeoutError, Unavailable, DatabaseError):
            return False
        return True

    @asynccontextmanager
    async def _plain_connection(self) -> AsyncIterator[WireConnection]:
        """A connection as the login role, for what no user asked."""
        connection = await self._pool.acquire()
        try:
            await connection.settle()
            yield connection
        except DATABASE_FAILURES as error:
            discard(connection)
            raise database_error(error) from error
        except BaseException:
            discard(connection)
            raise
        finally:
            self._pool.release(connection)
