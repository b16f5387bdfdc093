"""What the parts of the auth client (MFA, passkeys, OAuth) need of the client they belong to."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from httpx import QueryParams, Response

from isobase.auth.types import AuthChangeEvent, AuthResponse, Session, UserResponse

__all__ = ["AsyncSignedIn", "token_of"]


class AsyncSignedIn(Protocol):
    """A client with a session; ``AsyncGoTrueClient`` is one."""

    async def get_session(self) -> Session | None:
        """Give the session, refreshed when it is about to end."""

    async def _token_needed(self) -> str:
        """Give the access token of the user; AuthSessionMissingError when nobody is signed in."""
        ...

    async def _user_token(self) -> str | None:
        """Give that token, or None."""

    async def get_user(self, jwt: str | None = None) -> UserResponse | None:
        """Ask the server for the user."""

    async def _request(
        self,
        method: Literal["GET", "OPTIONS", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        path: str,
        *,
        jwt: str | None = None,
        query: QueryParams | None = None,
        body: Any | None = None,
    ) -> Response:
        """Send one request; an answer that is an error is raised."""

    async def _signed_in(self, response: AuthResponse, event: AuthChangeEvent = "SIGNED_IN") -> AuthResponse:
        """Keep the session that an answer brought, and tell the listeners."""
        ...


async def token_of(client: AsyncSignedIn) -> str:
    """Give the access token of the signed-in user; AuthSessionMissingError when nobody is."""
    return await client._token_needed()
