"""The real local mailbox for the tests, on a free port: what auth sends arrives here by HTTP."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from isobase_deploy.mailbox import Listeners, Mailbox
from isobase_deploy.mailbox.message import StoredMessage
from isobase_deploy.ports import listen
from isobase_platform.config import MailboxSettings

__all__ = ["MailboxServer", "mailbox"]

ARRIVAL_TIMEOUT_S = 60.0
QUIET_S = 0.15
POLL_S = 0.005
_CODE = re.compile(r"\b\d{6,10}\b")
_LINK = re.compile(r"https?://\S+/verify\?\S+")


@dataclass(slots=True, frozen=True)
class MailboxServer:
    """A mailbox that runs in a thread of its own; ``mailbox.store`` may be read from the test's."""

    mailbox: Mailbox
    port: int
    smtp_port: int | None = None

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://127.0.0.1:{self.port}"

    def to(self, address: str) -> list[StoredMessage]:
        """What has come for ``address``, newest first."""
        return [one for one in self.mailbox.store.newest_first() if one.addresses["To"][0]["Address"] == address]

    async def arrival(self, address: str, *, count: int = 1) -> StoredMessage:
        """The newest mail for ``address``, once there are ``count`` of them."""
        deadline_s = time.monotonic() + ARRIVAL_TIMEOUT_S
        while len(found := self.to(address)) < count:
            assert time.monotonic() < deadline_s, f"{len(found)} of {count} mails for {address} arrived"
            await asyncio.sleep(POLL_S)
        return found[0]

    async def silence(self) -> None:
        """Assert that nothing comes for a moment."""
        before = self.mailbox.store.accepted_count
        await asyncio.sleep(QUIET_S)
        assert self.mailbox.store.accepted_count == before


def code_in(mail: StoredMessage) -> str:
    """The code that a mail tells."""
    found = _CODE.search(mail.text)
    assert found is not None, mail.text
    return found[0]


def link_in(mail: StoredMessage) -> str:
    """The link that a mail asks to follow."""
    found = _LINK.search(mail.text)
    assert found is not None, mail.text
    return found[0]


@pytest.fixture(scope="session")
def mailbox_server() -> Iterator[MailboxServer]:
    """One mailbox for the session; ``mailbox`` is the same one, emptied."""
    smtp = listen("127.0.0.1", 0)
    listeners = Listeners(listen("127.0.0.1", 0), smtp)
    box = Mailbox(MailboxSettings())
    loop = asyncio.new_event_loop()
    ending = asyncio.Event()

    async def serve() -> None:
        async with box.serving(listeners):
            await ending.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="mailbox")
    thread.start()
    try:
        yield MailboxServer(box, listeners.port, int(smtp.getsockname()[1]))
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join()
        smtp.close()
        loop.close()


@pytest.fixture
def mailbox(mailbox_server: MailboxServer) -> MailboxServer:
    """An empty mailbox, to which the auth under test sends."""
    mailbox_server.mailbox.store.clear()
    return mailbox_server
