"""HTTP to what the project's own settings name: hooks, CAPTCHA and SMS providers, templates, the list of leaked passwords.

Neighbour: ``isobase_platform.outbound``, which keeps out of the private network. That is for servers that name others in
their turn (identity providers, token issuers); a project's own hook may well be beside it in that network.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

__all__ = ["AnswerTooLong", "HttpClient", "read_limited"]

_THIS_MACHINE = ("all://localhost", "all://127.0.0.1", "all://[::1]")


class AnswerTooLong(ValueError):
    """An answer has more bytes than its reader takes."""


class HttpClient:
    """Connections of one user, opened on first use. Close it with ``close``.

    ``timeout_s`` bounds connecting and each wait for bytes. ``headers`` go with every request; ``login``: user and password
    of basic authentication. The proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``) count, as they do upstream, but
    never for this machine. Redirects are followed where ``follows_redirects`` says so: what is signed or secret is for the
    configured address alone.
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        headers: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
        follows_redirects: bool = False,
    ) -> None:
        self._timeout_s = timeout_s
        self._headers = headers
        self._login = login
        self._follows_redirects = follows_redirects
        self._client: httpx.AsyncClient | None = None

    def stream(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Send a request; the answer's body is left to ``read_limited``. Raises ``httpx.HTTPError``, ``httpx.InvalidURL``."""
        return self._open().stream(method, url, data=form, content=content, headers=headers)

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            # Imported on first use: a process that calls nobody does without the HTTP client's memory.
            import httpx

            direct: dict[str, httpx.AsyncBaseTransport | None] = dict.fromkeys(_THIS_MACHINE)
            self._client = httpx.AsyncClient(
                timeout=self._timeout_s,
                follow_redirects=self._follows_redirects,
                headers=self._headers,
                auth=self._login,
                mounts=direct,
            )
        return self._client

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


async def read_limited(answer: httpx.Response, max_bytes: int) -> bytes:
    """The body of a streamed answer. Raises ``AnswerTooLong`` as soon as more than ``max_bytes`` came."""
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise AnswerTooLong(f"more than {max_bytes} bytes")
    return bytes(body)
