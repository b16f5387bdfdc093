"""The session of an auth client: kept, read, refreshed in time, and told of. Sign-ins and calls build on it
(``gotrue_client``).

What is decided (is it due, was it a refusal, how long to wait) is in ``session_rules``; what differs between tasks and
threads is in ``concurrency`` and ``refresh_timer``. The rules of this module:

- A refresh token is exchanged once. Callers share an exchange that is on its way; processes that share a storage which
  can be locked wait for one another; and what another process has stored meanwhile is taken over instead of asking the
  server again.
- Only a definite refusal by the server ends a session. A refresh that fails otherwise keeps it and is tried again,
  later and later.
- A refreshed session that the storage does not take is kept in memory, and written when the storage takes it.
- A session that was replaced or removed while its refresh was on the way stays replaced or removed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

from httpx import AsyncClient, QueryParams

from isobase._acompat import asleep
from isobase._http import DeadlineExceeded, call_options
from isobase.auth._async.gotrue_base_api import AsyncGoTrueBaseAPI
from isobase.auth._async.held_text import AsyncHeldText
from isobase.auth._async.storage import AsyncMemoryStorage, AsyncSupportedStorage, remove_item, set_item
from isobase.auth._sync.storage import SyncSupportedStorage
from isobase.auth.concurrency import AsyncMutex, AsyncSingleFlight
from isobase.auth.constants import STORAGE_KEY
from isobase.auth.errors import AuthError, AuthSessionMissingError
from isobase.auth.events import SignedOut, SignOutReason, Subscribers
from isobase.auth.helpers import handle_exception, parse_auth_response
from isobase.auth.refresh_timer import AsyncRefreshTimer
from isobase.auth.session_rules import (
    is_expired,
    is_refresh_due,
    is_refusal,
    measured_skew_s,
    refresh_due_at,
    retry_delay_s,
    stored_session,
)
from isobase.auth.types import AuthChangeEvent, AuthResponse, Session, Subscription, User

__all__ = ["AsyncSessions"]

BACKGROUND_TIMEOUT_S = 20.0
"""A refresh in the background that takes longer is tried again later; closing the client waits that long at most."""
LOCK_POLL_S = 0.05
LOCK_WAIT_S = 30.0
"""How long to wait for another process that refreshes the same session, before asking the server all the same."""

logger = logging.getLogger("isobase.auth")


class AsyncSessions(AsyncGoTrueBaseAPI):
    """Keeps one session. See the module's text for its rules; the public methods belong to ``AsyncGoTrueClient``."""

    def __init__(
        self,
        *,
        url: str,
        headers: dict[str, str],
        storage_key: str | None,
        auto_refresh_token: bool,
        persist_session: bool,
        # [async]
        storage: AsyncSupportedStorage | SyncSupportedStorage | None,
        # [/async]
        # [sync] storage: SyncSupportedStorage | None,
        http_client: AsyncClient | None,
        verify: bool,
        proxy: str | None,
    ) -> None:
        super().__init__(url=url, headers=headers, http_client=http_client, verify=verify, proxy=proxy)
        self._storage_key = storage_key or STORAGE_KEY
        self._auto_refresh_token = auto_refresh_token
        self._auto_refresh_paused = False
        self._persist_session = persist_session
        self._storage = storage if storage is not None else AsyncMemoryStorage()
        self._in_memory_session: Session | None = None
        self._given_token: str | None = None
        self._subscribers = Subscribers()

        self._writing = AsyncMutex()
        # Counts what was saved and removed, so that a refresh can tell whether its session is still the one.
        self._epoch = 0
        self._known: Session | None = None  # the session as this client last saved or read it
        self._known_text: str | None = None
        self._held = AsyncHeldText()  # a session that could not be stored
        self._replaced_token: str | None = None  # the refresh token whose exchange gave the known session
        self._skew_s = 0.0
        self._refreshes: AsyncSingleFlight[Session] = AsyncSingleFlight()
        self._failures = 0
        self._retry_at = 0.0
        self._timer = AsyncRefreshTimer(self._refresh_in_background)

    async def close(self) -> None:
        """End what runs in the background, wait for a refresh that is on its way, and close the client's own
        connections.
        """
        await self._timer.close()
        await self._refreshes.wait()
        if self._held.is_holding:
            self._held.hurry()
            await self._load_session()  # the last moment to store it
        await super().close()

    # Reading

    async def get_session(self) -> Session | None:
        """Give the session, refreshed first when it is near its end; None when nobody is signed in.

        While the access token is still good, a refresh that fails for want of a network gives the session as it is.
        Raises ``AuthRetryableError`` when the token has ended and no server answers; ``AuthApiError`` when the server
        refuses the refresh token, after which there is no session (``SIGNED_OUT``, reason ``session_expired``).
        """
        session = await self._load_session()
        if session is None:
            return None
        now = time.time()
        if not session.refresh_token or not is_refresh_due(session, now, self._skew_s):
            self._keep_timer(session)
            return session
        if now < self._retry_at and not is_expired(session, now, self._skew_s):
            return session
        try:
            return await self._call_refresh_token(session.refresh_token)
        except AuthSessionMissingError:
            return await self._load_session()  # signed out meanwhile
        except AuthError as error:
            if is_refusal(error) or is_expired(session, time.time(), self._skew_s):
                raise
            return session

    async def _user_token(self) -> str | None:
        """Give the access token of calls that need a user: the session's, else the one that the client was made for."""
        session = await self.get_session()
        return session.access_token if session is not None else self._given_token

    async def _token_needed(self) -> str:
        """Give that token; AuthSessionMissingError when there is none."""
        token = await self._user_token()
        if token is None:
            raise AuthSessionMissingError()
        return token

    async def _load_session(self) -> Session | None:
        """Read the session as it is kept, due or not. What another process has changed is told to the subscribers."""
        if not self._persist_session:
            return self._in_memory_session
        session, event = await self._read()
        if event == "SIGNED_OUT":
            self._notify_signed_out("session_missing")
        elif event is not None:
            self._notify_all_subscribers(event, session)
        return session

    async def _read(self) -> tuple[Session | None, AuthChangeEvent | None]:
        """Read what is stored, with the event of what another process, or nobody, did to it since."""
        async with self._writing.held():
            text = await self._held.read(self._storage, self._storage_key)
            before = self._known
            if before is not None and text == self._known_text:
                return before.model_copy(), None
            session = stored_session(text)
            if session is None:
                if not text and before is None:
                    return None, None
                await self._erase()
                return None, "SIGNED_OUT"
            self._known, self._known_text = session, text
            if before is None or before.refresh_token == session.refresh_token:
                return session.model_copy(), None
            self._epoch += 1
            self._replaced_token = before.refresh_token
            self._arm(session)
            return session.model_copy(), "TOKEN_REFRESHED" if before.user.id == session.user.id else "SIGNED_IN"

    # Writing

    async def _save_session(self, session: Session, *, is_fresh: bool = False) -> None:
        """Keep this session in the place of the one before; ``is_fresh`` when the server has just issued it."""
        async with self._writing.held():
            await self._store(session, is_fresh=is_fresh)
            self._replaced_token = None

    async def _store(self, session: Session, *, is_fresh: bool, is_held: bool = False) -> None:
        self._epoch += 1
        if is_fresh:
            self._skew_s = measured_skew_s(session, time.time())
        self._failures, self._retry_at = 0, 0.0
        await self._write(session, is_held=is_held)
        self._arm(session)

    async def _write(self, session: Session, *, is_held: bool = False) -> None:
        """Store the session. A storage that raises is told of, but where ``is_held``: then the session waits in memory."""
        if not self._persist_session:
            self._in_memory_session = session
        elif session.expires_at:
            text = session.model_dump_json()
            if is_held or self._held.is_holding:
                await self._held.write(self._storage, self._storage_key, text, self._known_text)
            else:
                await set_item(self._storage, self._storage_key, text)
            self._known, self._known_text = session.model_copy(), text

    async def _save_user(self, user: User) -> Session | None:
        """Put a user's new state into the session that is kept now, whose tokens a refresh may have changed
        meanwhile.
        """
        async with self._writing.held():
            if self._persist_session:
                session = stored_session(await self._held.read(self._storage, self._storage_key))
            else:
                session = self._in_memory_session
            if session is None or session.user.id != user.id:
                return session
            session = session.model_copy(update={"user": user})
            await self._write(session)
            return session

    async def _remove_session(self) -> None:
        """Forget the session; tells nobody."""
        async with self._writing.held():
            await self._erase()

    async def _remove_if_current(self, session: Session) -> bool:
        """Forget the session if it is still the one that is kept; tells whether it was."""
        current = await self._load_session()
        epoch = self._epoch
        if current is None or current.refresh_token != session.refresh_token:
            return False
        async with self._writing.held():
            is_current = self._epoch == epoch
            if is_current:
                await self._erase()
        return is_current

    async def _erase(self) -> None:
        self._epoch += 1
        self._timer.cancel()
        self._known = self._known_text = self._replaced_token = None
        self._held.drop()
        self._failures, self._retry_at = 0, 0.0
        if self._persist_session:
            await remove_item(self._storage, self._storage_key)
        else:
            self._in_memory_session = None

    async def _signed_in(self, response: AuthResponse, event: AuthChangeEvent = "SIGNED_IN") -> AuthResponse:
        """Keep and tell of the session that an answer brought, when it brought one."""
        if response.session:
            await self._save_session(response.session, is_fresh=True)
            self._notify_all_subscribers(event, response.session)
        return response

    # Refreshing

    async def _call_refresh_token(self, refresh_token: str, *, may_adopt: bool = True) -> Session:
        """Exchange a refresh token, once for all who ask at the same time, and keep the new session.

        ``may_adopt`` takes a newer session that is stored already instead. Raises ``AuthSessionMissingError`` without a
        token, and when the user was signed out meanwhile; else what the request raises.
        """
        if not refresh_token:
            raise AuthSessionMissingError()
        try:
            return await self._refreshes.run(refresh_token, partial(self._refresh, refresh_token, may_adopt=may_adopt))
        except DeadlineExceeded as error:
            raise handle_exception(error) from error

    async def _refresh(self, refresh_token: str, *, may_adopt: bool) -> Session:
        async with self._alone():
            if may_adopt and (newer := await self._newer_session(refresh_token)):
                return newer
            epoch = self._epoch
            try:
                response = await self._refresh_access_token(refresh_token)
                if response.session is None:
                    raise AuthSessionMissingError()
            except AuthError as error:
                if may_adopt and (newer := await self._newer_session(refresh_token)):
                    return newer
                await self._refresh_failed(refresh_token, error)
                raise
            session = response.session
            async with self._writing.held():
                is_current = self._epoch == epoch
                if is_current:
                    await self._store(session, is_fresh=True, is_held=True)
                    self._replaced_token = refresh_token
        if is_current:
            self._notify_all_subscribers("TOKEN_REFRESHED", session)
            return session
        logger.info(
            "a refreshed session is dropped: another one was stored, or the user signed out, while it was on the way"
        )
        current = await self._load_session()
        if current is None:
            raise AuthSessionMissingError()
        return current if may_adopt else session

    async def _newer_session(self, refresh_token: str) -> Session | None:
        """Give the stored session when it came after the one of this refresh token, and is not due itself."""
        expected = self._known.refresh_token if self._known is not None else None
        if refresh_token not in (expected, self._replaced_token):
            return None  # a token that the app brought along
        session = await self._load_session()
        if session is None or session.refresh_token == refresh_token:
            return None
        return None if is_refresh_due(session, time.time(), self._skew_s) else session

    async def _refresh_failed(self, refresh_token: str, error: AuthError) -> None:
        session = await self._load_session()
        if session is None or session.refresh_token != refresh_token:
            return
        if is_refusal(error):
            logger.info("the server refused the refresh token: %s", error)
            if await self._remove_if_current(session):
                self._notify_signed_out("session_expired")
            return
        self._failures += 1
        self._retry_at = time.time() + retry_delay_s(self._failures)
        logger.info("the session could not be refreshed, try %d: %s", self._failures, error)
        if self._auto_refresh_token and not self._auto_refresh_paused:
            self._timer.arm(self._retry_at)

    async def _refresh_access_token(self, refresh_token: str) -> AuthResponse:
        response = await self._request(
            "POST", "token", query=QueryParams(grant_type="refresh_token"), body={"refresh_token": refresh_token}
        )
        return parse_auth_response(response)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep other processes from refreshing the same session, where the storage can be locked (``try_lock``,
        ``unlock``).
        """
        try_lock: Callable[[str], bool] | None = getattr(self._storage, "try_lock", None)
        unlock: Callable[[str], None] | None = getattr(self._storage, "unlock", None)
        if not self._persist_session or try_lock is None or unlock is None:
            yield
            return
        give_up_at = time.monotonic() + LOCK_WAIT_S
        while not (is_locked := try_lock(self._storage_key)) and time.monotonic() < give_up_at:
            await asleep(LOCK_POLL_S)
        if not is_locked:
            logger.warning(
                "another process has held the lock of the session for %.0f s; going on without it", LOCK_WAIT_S
            )
        try:
            yield
        finally:
            if is_locked:
                unlock(self._storage_key)

    # The background

    def _arm(self, session: Session) -> None:
        due_at = refresh_due_at(session, self._skew_s)
        if due_at is None or not self._auto_refresh_token or self._auto_refresh_paused or not session.refresh_token:
            self._timer.cancel()
        else:
            self._timer.arm(time.time() + self._held.again_in_s if self._held.is_holding else due_at)

    def _keep_timer(self, session: Session) -> None:
        """Arm the timer for a session that came out of the storage, or whose event loop has gone."""
        if self._auto_refresh_token and not self._auto_refresh_paused and not self._timer.is_armed():
            self._arm(session)

    async def _refresh_in_background(self) -> None:
        session = await self._load_session()
        if session is None or not self._auto_refresh_token or self._auto_refresh_paused:
            return
        if not is_refresh_due(session, time.time(), self._skew_s):
            self._arm(session)
            return
        try:
            with call_options(timeout=BACKGROUND_TIMEOUT_S):
                await self._call_refresh_token(session.refresh_token)
        except AuthError as error:
            logger.debug("the refresh in the background failed: %s", error)  # told of, and armed again, where it failed

    async def start_auto_refresh(self) -> None:
        """Refresh the session in the background from now on, also when the client was made with
        ``auto_refresh_token=False``.

        A session that is due is refreshed at once. Source: supabase-js, ``startAutoRefresh``.
        """
        self._auto_refresh_token, self._auto_refresh_paused = True, False
        session = await self._load_session()
        if session is not None:
            self._arm(session)

    async def stop_auto_refresh(self) -> None:
        """Refresh nothing in the background until ``start_auto_refresh``; ``get_session`` still refreshes what is due.

        Source: supabase-js, ``stopAutoRefresh``.
        """
        self._auto_refresh_paused = True
        await self._timer.close()

    # Events

    def on_auth_state_change(
        self,
        # [async]
        callback: Callable[[AuthChangeEvent, Session | None], Awaitable[None] | None],
        # [/async]
        # [sync] callback: Callable[[AuthChangeEvent, Session | None], None],
    ) -> Subscription:
        """Call ``callback(event, session)`` at every sign-in, sign-out, refresh and change of the user, until
        ``unsubscribe()``.

        The callback may use the client. One that raises is logged and breaks nothing.
        ``isobase.auth.sign_out_reason(event)`` tells why a user was signed out. Source: supabase_auth,
        ``on_auth_state_change``.
        """
        return self._subscribers.add(callback)

    def _notify_all_subscribers(self, event: AuthChangeEvent, session: Session | None) -> None:
        self._subscribers.notify(event, session)

    def _notify_signed_out(self, reason: SignOutReason) -> None:
        self._notify_all_subscribers(cast(AuthChangeEvent, SignedOut(reason)), None)
