"""The connections of a client and its views: one pool, and a session for each part with its own headers and limits."""

from __future__ import annotations

import httpx

from isobase._http._async.features import AsyncFeatures
from isobase._http._async.session import AsyncSession, SessionParts
from isobase._http.options import CallPolicy
from isobase._http.tracing import tracing_of
from isobase._making import MAKING
from isobase.lib.client_options import AsyncClientOptions

__all__ = ["AsyncConnections"]


class AsyncConnections:
    """What a client sends through."""

    supabase_url: httpx.URL
    options: AsyncClientOptions
    _owner: AsyncConnections | None
    _own_session: AsyncSession | None
    _own_features: AsyncFeatures | None
    _sessions: list[AsyncSession]

    def _pool(self) -> AsyncSession:
        """The session that holds the connections of this client and its views."""
        if self._owner is not None:
            return self._owner._pool()
        if self._own_session is None:
            with MAKING:
                if self._own_session is None:
                    self._own_session = AsyncSession(http2=self.options.http2)
        return self._own_session

    def _features(self) -> AsyncFeatures:
        """What the server can do beyond Supabase's: one memory for this client and its views."""
        if self._owner is not None:
            return self._owner._features()
        if self._own_features is None:
            with MAKING:
                if self._own_features is None:
                    given = self.options.httpx_client
                    session = self._pool() if given is None else AsyncSession.of(given)
                    self._own_features = AsyncFeatures(session, str(self.supabase_url.join(".well-known/isobase")))
        return self._own_features

    def _session(
        self,
        timeout: float | httpx.Timeout,
        *,
        headers: dict[str, str] | None = None,
        retries: int | None = None,
        unsaid_timeout: float | None = None,
        authorize: bool = True,
        may_have_keys: bool = False,
    ) -> AsyncSession:
        """Give the session of one sub-client: its headers and limits, on the client's connections.

        unsaid_timeout: the whole seconds of a call for which nobody said any.
        authorize: whether it follows the signed-in user. may_have_keys: whether its writes may carry idempotency keys.
        """
        options = self.options
        policy = CallPolicy(
            timeout=options.timeout,
            unsaid_timeout=unsaid_timeout,
            retries=options.retries if retries is None else retries,
            automatic_keys=options.idempotency_keys,
        )
        more: SessionParts = {
            "policy": policy,
            "authorize": self._authorize if authorize else None,
            "may_wait": self._may_wait,
            "features": self._features() if may_have_keys else None,
            "tracing": tracing_of(self.supabase_url.host, options.trace_propagation, options.trace_spans),
        }
        if options.httpx_client is not None:
            return AsyncSession.over(options.httpx_client, **more)
        session = AsyncSession.sharing(
            self._pool(), headers=options.headers if headers is None else headers, timeout=timeout, **more
        )
        self._sessions.append(session)
        return session

    def _may_wait(self) -> bool:
        """Whether ``_authorize`` may have to ask somebody now; else it answers at once."""
        raise NotImplementedError

    async def _authorize(self, present: str | None) -> str | None:
        """Say what a call's ``Authorization`` should be instead of ``present``; None: it may stay."""
        raise NotImplementedError
