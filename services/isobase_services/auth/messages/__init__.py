"""Mail and text messages of auth: what flows hand over, how it is worded, and how it leaves.

``service`` is the face for flows (``core.messages``), ``model`` its words, ``outbox`` sends in the background; ``render``
makes mail of messages from ``contents`` or from a project's own templates; ``senders`` are the ways out.
"""

from __future__ import annotations

from isobase_services.auth.messages.model import Channel, EmailKind, EmailMessage, SmsKind, SmsMessage
from isobase_services.auth.messages.service import Messages

__all__ = ["Channel", "EmailKind", "EmailMessage", "Messages", "SmsKind", "SmsMessage"]
