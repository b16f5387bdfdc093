"""The local mailbox: where the mail of a local project goes, for its developer and its tests to read.

``server`` listens; ``app`` answers Mailpit's HTTP API (``api``) and shows a page; ``smtp`` takes mail of other programs;
``store`` keeps the messages in memory.
"""

from __future__ import annotations

from isobase_deploy.mailbox.server import Listeners, Mailbox, open_listeners

__all__ = ["Listeners", "Mailbox", "open_listeners"]
