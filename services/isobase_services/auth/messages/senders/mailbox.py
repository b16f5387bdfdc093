"""Mail into the local mailbox, by the send call of Mailpit's HTTP API.

By HTTP and not by a call in this process: services of one project that run alone reach the same mailbox, and a project may
run Mailpit itself. Source: Mailpit's API v1, ``POST /api/v1/send``.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from isobase_services.auth.messages.model import Mail, SendFailed

if TYPE_CHECKING:
    import httpx

__all__ = ["MailboxSender"]

TIMEOUT_S = 5.0
HTTP_OK = 200


class MailboxSender:
    """Puts mail into the mailbox at ``url``, from ``sender_name`` <``sender``>."""

    def __init__(self, url: str, *, sender: str, sender_name: str) -> None:
        self._url = url
        self._sender = {"Email": sender, "Name": sender_name}
        self._client: httpx.AsyncClient | None = None

    async def send(self, mail: Mail) -> None:
        """See ``MailSender``."""
        import httpx

        body = {
            "From": self._sender,
            "To": [{"Email": mail.to, "Name": ""}],
            "Subject": mail.subject,
            "HTML": mail.html,
            "Text": mail.text,
        }
        try:
            answer = await self._connected().post(f"{self._url}/api/v1/send", json=body)
        except httpx.HTTPError as error:
            raise SendFailed(f"the mailbox at {self._url} does not answer: {type(error).__name__}") from error
        if answer.status_code != HTTP_OK:
            raise SendFailed(f"the mailbox at {self._url} answered {answer.status_code}", is_permanent=True)

    async def close(self) -> None:
        """See ``MailSender``."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _connected(self) -> httpx.AsyncClient:
        import httpx

        if self._client is None:
            # A bare context: the default one reads every root certificate, for a server that is on this machine.
            context = True if self._url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._client = httpx.AsyncClient(timeout=TIMEOUT_S, verify=context, trust_env=False)
        return self._client
