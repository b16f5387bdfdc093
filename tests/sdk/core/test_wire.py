"""Where an answer ends: tables of heads and bodies, whole and byte by byte."""

from __future__ import annotations

import httpx
import pytest

from isobase._http.wire import BodyReader, head_end, parse_head, request_head


def body_of(head: bytes, data: bytes, *, step: int, method: str = "GET") -> tuple[bytes, bool]:
    """Feed a body in pieces of ``step`` bytes; gives it and whether it ended."""
    reader = BodyReader(parse_head(head, method))
    got = b""
    for start in range(0, len(data), step):
        got += reader.feed(data[start : start + step])
    return got, reader.is_done


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("head", "data", "body"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5", b"hello", b"hello", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 0", b"", b"", id="empty"),
        pytest.param(b"HTTP/1.1 204 No Content", b"", b"", id="no content"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
            b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            b"abcde",
            id="chunks",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
            b"A\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n",
            b"0123456789",
            id="chunks with a trailer",
        ),
    ],
)
def test_a_body_ends_where_its_head_says(head: bytes, data: bytes, body: bytes, step: int) -> None:
    assert body_of(head, data, step=step) == (body, True)


def test_a_body_without_a_length_ends_with_the_connection_which_is_not_used_again() -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\nX: y", "GET")
    reader = BodyReader(head)
    assert not head.keeps_alive
    assert reader.feed(b"all") == b"all"
    assert reader.feed(b"") == b""
    assert reader.is_done


@pytest.mark.parametrize("method_and_status", [("HEAD", 200), ("GET", 304), ("DELETE", 204)])
def test_answers_that_have_no_body_have_none_whatever_their_length_says(method_and_status: tuple[str, int]) -> None:
    method, status = method_and_status
    head = parse_head(b"HTTP/1.1 %d X\r\nContent-Length: 100" % status, method)
    assert head.length == 0
    assert head.keeps_alive


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/2 200 OK", id="another protocol"),
        pytest.param(b"SSH-2.0-OpenSSH", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6", id="two lengths in one header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", id="two lengths in two headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5", id="a negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: +5", id="a length with a sign"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000, id="a length that is no machine's"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", id="an encoding we do not know"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: 1\r\n folded", id="a folded header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX : 1", id="a space in a name"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno colon", id="no colon"),
    ],
)
def test_a_head_that_two_parties_could_read_differently_is_refused(head: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        parse_head(head, "GET")


@pytest.mark.parametrize("data", [b"zz\r\n", b"-1\r\n", b"0x5\r\nhello", b"3\r\nabcdef\r\n", b"0\r\n\r\nmore"])
def test_chunks_of_no_clear_length_are_refused(data: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        body_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", data, step=1000)


@pytest.mark.parametrize(
    ("head", "data"),
    [(b"Content-Length: 5", b"hell"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n")],
    ids=["length", "chunks"],
)
def test_a_connection_that_ends_inside_a_body_is_an_error(head: bytes, data: bytes) -> None:
    reader = BodyReader(parse_head(b"HTTP/1.1 200 OK\r\n" + head, "GET"))
    reader.feed(data)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        reader.feed(b"")


def test_a_length_beside_chunks_is_not_believed_and_the_connection_not_used_again() -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", "GET")
    assert head.is_chunked
    assert not head.keeps_alive


def test_a_head_without_end_is_refused() -> None:
    assert head_end(b"HTTP/1.1 200 OK\r\n") == -1
    with pytest.raises(httpx.RemoteProtocolError):
        head_end(b"x" * 300_000)


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (b"/a b", []),
        (b"/a\r\nX: y", []),
        (b"/", [(b"X", b"1\r\nY: 2")]),
        (b"/", [(b"X\r\nY", b"1")]),
        (b"/", [(b"X", b"1\x00")]),
    ],
)
def test_nothing_can_be_smuggled_into_a_request(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        request_head("GET", target, headers)
