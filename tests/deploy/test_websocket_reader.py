"""What a client's bytes mean: RFC 6455 by examples, and the same answers as the websockets library for random ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Close, Frame
from websockets.frames import Opcode as TheirOpcode
from websockets.server import ServerProtocol

from isobase_deploy.websocket.reader import CloseCode, FrameReader, Opcode, ProtocolViolation, close_code_of

MAX_MESSAGE_BYTES = 70_000
MASK = b"\x11\x22\x33\x44"

Outcome = tuple[list[tuple[Opcode, bytes]], int | None]


def masked(first: int, payload: bytes, *, length: int | None = None) -> bytes:
    """A client's frame whose first byte is ``first``; ``length`` in place of the true one."""
    size = len(payload) if length is None else length
    if size <= 125:
        head = bytes((first, 0x80 | size))
    elif size <= 0xFFFF:
        head = bytes((first, 0x80 | 126)) + struct.pack("!H", size)
    else:
        head = bytes((first, 0x80 | 127)) + struct.pack("!Q", size)
    return head + MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))


def read(chunks: Sequence[bytes]) -> Outcome:
    """What our reader makes of ``chunks``: messages and control frames, and the code that it gives up with."""
    reader = FrameReader(MAX_MESSAGE_BYTES)
    events: list[tuple[Opcode, bytes]] = []
    for chunk in chunks:
        reader.feed(chunk)
        try:
            while (event := reader.next()) is not None:
                opcode, content = event
                content = content.encode() if isinstance(content, str) else content
                if opcode is Opcode.CLOSE:
                    close_code_of(content)
                    return [*events, (opcode, content)], None
                events.append((opcode, content))
        except ProtocolViolation as violation:
            return events, violation.code
    return events, None


def read_by_websockets(chunks: Sequence[bytes]) -> Outcome:
    """The same by the websockets library, which leaves fragments and UTF-8 to its users."""
    protocol = ServerProtocol(max_size=MAX_MESSAGE_BYTES)
    protocol.state = protocol.state.OPEN
    parser = super(ServerProtocol, protocol).parse()
    protocol.parser = parser
    next(parser)
    events: list[tuple[Opcode, bytes]] = []
    message = b""
    kind = Opcode.BINARY
    for chunk in chunks:
        protocol.receive_data(chunk)
        for frame in protocol.events_received():
            assert isinstance(frame, Frame)
            opcode, data = Opcode(frame.opcode), bytes(frame.data)
            if opcode is Opcode.CLOSE:
                return [*events, (opcode, data)], None
            if opcode >= Opcode.CLOSE:
                events.append((opcode, data))
                continue
            if opcode is not Opcode.CONTINUATION:
                kind, message = opcode, b""
            message += data
            if not frame.fin:
                continue
            if kind is Opcode.TEXT:
                try:
                    message.decode()
                except UnicodeDecodeError:
                    return events, CloseCode.INVALID_TEXT
            events.append((kind, message))
        if protocol.parser_exc is not None:
            assert protocol.close_sent is not None
            return events, int(protocol.close_sent.code)
    return events, None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, MAX_MESSAGE_BYTES])
def test_messages_of_every_length_form_are_read(size: int) -> None:
    content = b"x" * size
    assert read([masked(0x81, content)]) == ([(Opcode.TEXT, content)], None)
    assert read([masked(0x82, content)]) == ([(Opcode.BINARY, content)], None)


def test_bytes_that_come_one_by_one_make_the_same_messages() -> None:
    data = masked(0x81, "grün".encode()) + masked(0x89, b"p") + masked(0x82, b"y" * 300)
    expected = [(Opcode.TEXT, "grün".encode()), (Opcode.PING, b"p"), (Opcode.BINARY, b"y" * 300)]
    assert read([bytes((byte,)) for byte in data]) == (expected, None)
    assert read([data]) == (expected, None)


def test_control_frames_may_stand_between_fragments() -> None:
    euro = "€".encode()
    data = [masked(0x01, euro[:1]), masked(0x89, b"ping"), masked(0x00, euro[1:2]), masked(0x80, euro[2:])]
    assert read(data) == ([(Opcode.PING, b"ping"), (Opcode.TEXT, euro)], None)


BROKEN = {
    "without a mask": (b"\x81\x01x", CloseCode.PROTOCOL_ERROR),
    "a reserved bit": (masked(0xC1, b"x"), CloseCode.PROTOCOL_ERROR),
    "an unknown opcode": (masked(0x83, b"x"), CloseCode.PROTOCOL_ERROR),
    "an unknown control opcode": (masked(0x8B, b"x"), CloseCode.PROTOCOL_ERROR),
    "a control frame in fragments": (masked(0x09, b"x"), CloseCode.PROTOCOL_ERROR),
    "a long control frame": (masked(0x89, b"x" * 126), CloseCode.PROTOCOL_ERROR),
    "a continuation of nothing": (masked(0x80, b"x"), CloseCode.PROTOCOL_ERROR),
    "a message within a message": (masked(0x01, b"x") + masked(0x81, b"x"), CloseCode.PROTOCOL_ERROR),
    "text that is not UTF-8": (masked(0x81, b"\xff"), CloseCode.INVALID_TEXT),
    "text with a surrogate": (masked(0x81, b"\xed\xa0\x80"), CloseCode.INVALID_TEXT),
    "a length beyond the limit": (masked(0x82, b"", length=MAX_MESSAGE_BYTES + 1), CloseCode.TOO_BIG),
    "a length beyond 63 bits": (masked(0x82, b"", length=2**63), CloseCode.TOO_BIG),
    "fragments beyond the limit": (
        masked(0x02, b"x" * 60_000) + masked(0x00, b"", length=10_001),
        CloseCode.TOO_BIG,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_client_that_breaks_the_protocol_is_given_up_with_the_code_for_it(name: str) -> None:
    data, code = BROKEN[name]
    assert read([masked(0x81, b"before"), data]) == ([(Opcode.TEXT, b"before")], code)


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", None), (b"\x03\xe8", 1000), (b"\x0f\xa0bye", 4000), (b"\x03\xf4", 1012)],
    ids=["none", "normal", "private", "restart"],
)
def test_close_codes_of_clients_are_read(payload: bytes, code: int | None) -> None:
    assert close_code_of(payload) == code


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x00\x01", b"\x03\xe8\xff"], ids=repr)
def test_malformed_close_frames_are_violations(payload: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        close_code_of(payload)


def test_what_is_held_is_bounded_by_a_message_and_a_chunk() -> None:
    reader = FrameReader(MAX_MESSAGE_BYTES)
    for number in range(10_000):  # empty fragments never end, and must leave nothing behind
        reader.feed(masked(0x02 if number == 0 else 0x00, b""))
        assert reader.next() is None
    assert len(reader._data) == 0
    assert len(reader._fragments or b"") == 0


_frames = st.one_of(
    st.tuples(st.sampled_from((0x81, 0x01, 0x00, 0x80)), st.text(max_size=200).map(str.encode)),
    st.tuples(st.sampled_from((0x82, 0x02, 0x00, 0x80)), st.binary(max_size=70)),
    st.tuples(st.sampled_from((0x82, 0x02, 0x00)), st.sampled_from((126, 40_000, 66_000))),  # how many times a z
    st.tuples(st.sampled_from((0x89, 0x8A)), st.binary(max_size=125)),
    st.tuples(st.integers(0, 255), st.binary(max_size=3)),
)


@settings(max_examples=300, deadline=None)
@example(frames=[(0x01, b""), (0x00, 40_000), (0x82, 40_000)], cuts=[])  # too big, and out of order
@given(frames=st.lists(_frames, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=12))
def test_random_bytes_are_read_as_the_websockets_library_reads_them(
    frames: list[tuple[int, bytes | int]], cuts: list[int]
) -> None:
    in_message = False
    data = b""
    for first, content in frames:
        payload = b"z" * content if isinstance(content, int) else content
        opcode = first & 0x0F
        if opcode == TheirOpcode.CLOSE:
            if in_message:
                continue  # allowed by the RFC, refused by the library
            payload = Close(1000, "").serialize()
        data += masked(first, payload)
        if opcode <= TheirOpcode.BINARY:
            in_message = first < 0x80
    chunks: list[bytes] = []
    for cut in cuts:
        chunks.append(data[:cut])
        data = data[cut:]
    chunks.append(data)
    assert read(chunks) == read_by_websockets(chunks)
