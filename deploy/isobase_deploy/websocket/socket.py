"""One adopted WebSocket: an asyncio protocol without task or queue of its own.

Messages go to the handler as they arrive, frames go to the transport as they are. Every wait has an end: a client that does
not answer a close, or does not read what stands before it, is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from isobase_deploy.websocket.reader import FrameReader, Opcode, ProtocolViolation, close_code_of
from isobase_platform.http.raw_socket import SocketHandler

__all__ = ["CLOSE_TIMEOUT_S", "AdoptedSocket"]

CLOSE_TIMEOUT_S = 5.0
"""How long a client may take to read what was written and to answer a close."""
MAX_MESSAGES_PER_TURN = 16
"""Messages of one socket handled before others get their turn: a chunk may hold thousands."""

CLOSE_HEAD = 0x88
PONG_HEAD = 0x8A


class AdoptedSocket(asyncio.Protocol):
    """See ``isobase_platform.http.raw_socket.RawSocket``. ``connections`` is the server's set of open ones."""

    __slots__ = (
        "_connections",
        "_handler",
        "_is_closing",
        "_is_held",
        "_is_paused",
        "_is_turn_due",
        "_loop",
        "_reader",
        "_timer",
        "_transport",
        "write",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        handler: SocketHandler,
        connections: set[Any],
        loop: asyncio.AbstractEventLoop,
        max_message_bytes: int,
    ) -> None:
        self._transport = transport
        self._handler: SocketHandler | None = handler
        self._connections = connections
        self._loop = loop
        self._reader = FrameReader(max_message_bytes)
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._is_paused = False
        self._is_held = False
        self._is_turn_due = False
        self.write: Callable[[bytes], None] = transport.write
        connections.add(self)

    # -- the transport's side -----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read what arrived."""
        if self._handler is None:
            return  # it has ended; what is still on its way is taken in, so that the client gets to read our close
        self._reader.feed(data)
        if not (self._is_held or self._is_turn_due):
            self._read()

    def begin_with(self, data: bytes) -> None:
        """Read ``data`` first, which came before; not within the call, as the handler does not know its socket yet."""
        self._reader.feed(data)
        self._read_later()

    def eof_received(self) -> None:
        """The client sends no more, not even a close: the connection ends."""
        self._end()

    def pause_writing(self) -> None:
        """The transport holds more than it should."""
        self._is_paused = True
        if self._handler is not None:
            self._handler.writing_paused()

    def resume_writing(self) -> None:
        """The transport has room."""
        self._is_paused = False
        if self._handler is not None:
            self._handler.writing_resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        self._connections.discard(self)
        self._end()

    def shutdown(self) -> None:
        """The server ends; as uvicorn asks each of its connections."""
        self.close(1012)

    # -- the app's side -----------------------------------------------------------------------------------------------

    def hold_reading(self) -> None:
        """See ``RawSocket``."""
        if not self._is_held:
            self._is_held = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See ``RawSocket``."""
        if self._is_held:
            self._is_held = False
            if not self._is_turn_due:
                self._transport.resume_reading()
                self._read_later()

    def close(self, code: int) -> None:
        """See ``RawSocket``."""
        if self._is_closing:
            return
        self._is_closing = True
        self.resume_reading()  # the client's answer stands behind whatever was held
        if not self._transport.is_closing():
            self._transport.write(_close_frame(code))
            self._cut_off_later()

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            for _ in range(MAX_MESSAGES_PER_TURN):
                event = self._reader.next()
                if event is None:
                    return
                opcode, content = event
                if opcode <= Opcode.BINARY:
                    # Who is told to go has nothing more to say, but the answer to the close must still be found.
                    if not self._is_closing and self._handler is not None:
                        self._handler.message_received(content)
                        if self._is_held:
                            return
                elif opcode is Opcode.PING:
                    # A client that pings and does not read would fill the memory with answers.
                    if not (self._is_paused or self._is_closing):
                        assert isinstance(content, bytes)
                        self._transport.write(bytes((PONG_HEAD, len(content))) + content)
                elif opcode is Opcode.CLOSE:
                    assert isinstance(content, bytes)
                    self._answer_close(close_code_of(content))
                    return
        except ProtocolViolation as violation:
            self._give_up(violation.code)
            return
        self._transport.pause_reading()
        self._read_later()

    def _read_later(self) -> None:
        self._is_turn_due = True
        self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_turn_due = False
        if self._is_held or self._transport.is_closing():
            return
        self._transport.resume_reading()
        self._read()

    # -- the end ------------------------------------------------------------------------------------------------------

    def _answer_close(self, code: int | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._transport.write(_close_frame(code))
        self._end()

    def _give_up(self, code: int) -> None:
        """Close a socket that cannot be read any further.

        Its client may be in the middle of sending: closing with bytes unread would reset the connection, and the client
        would never see why. So only the sending half ends, until the client ends the other.
        """
        self.close(code)
        self._tell_end()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        else:
            self._end()

    def _tell_end(self) -> None:
        self._is_closing = True
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.socket_ended()

    def _end(self) -> None:
        """Tell the handler and close the connection behind what was written."""
        self._tell_end()
        if not self._transport.is_closing():
            self._transport.close()
            self._cut_off_later()

    def _cut_off_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)


def _close_frame(code: int | None) -> bytes:
    content = b"" if code is None else int(code).to_bytes(2, "big")
    return bytes((CLOSE_HEAD, len(content))) + content
