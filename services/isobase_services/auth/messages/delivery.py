"""What becomes of a mail where no hook takes it: it is rendered and sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from isobase_services.auth.messages.model import EmailMessage, MailSender, SendFailed
from isobase_services.auth.messages.overrides import overrides_of
from isobase_services.auth.messages.render import Renderer
from isobase_services.auth.messages.senders import sender_of
from isobase_services.auth.messages.senders.mailbox import MailboxSender

if TYPE_CHECKING:
    from isobase_platform.config import Settings

__all__ = ["MailDelivery"]


class MailDelivery:
    """Renders and sends. ``sender`` None: no way out is configured."""

    def __init__(self, renderer: Renderer, sender: MailSender | None) -> None:
        self._renderer = renderer
        self._sender = sender
        self._is_told = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings ask for. Raises ``ConfigurationError`` for what cannot be used."""
        renderer = Renderer(settings.auth.site_url, overrides_of(settings.auth.email, settings.auth.site_url))
        return cls(renderer, sender_of(settings))

    @property
    def is_local(self) -> bool:
        """Whether mail goes to the local mailbox and nowhere else."""
        return isinstance(self._sender, MailboxSender)

    async def deliver(self, message: EmailMessage) -> None:
        """See ``EmailDelivery``."""
        if self._sender is None:
            is_known, self._is_told = self._is_told, True
            raise SendFailed("no mail server is configured", is_permanent=True, is_known=is_known)
        await self._renderer.prepare(message.kind)
        await self._sender.send(self._renderer.render(message))
        if message.to_current is not None:
            await self._sender.send(self._renderer.render(message.to_current))

    async def close(self) -> None:
        """See ``EmailDelivery``."""
        if self._sender is not None:
            await self._sender.close()
