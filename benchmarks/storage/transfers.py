"""Large objects over the three protocols, by a client that costs next to nothing.

It sends out of the page cache with sendfile and receives into one buffer. Each transfer is a plain function over a blocking
socket, so that many can run on threads at a time.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.storage.servers import REGION, S3_ACCESS_KEY, S3_SECRET_KEY

__all__ = ["Answer", "Client", "NotServed"]

BUFFER_BYTES = 1024 * 1024
TUS_CHUNK_BYTES = 6 * 1024 * 1024
"""What Supabase tells its clients to send at a time."""
TIMEOUT_S = 120.0
PRESIGNED_FOR_S = 3600


class NotServed(Exception):
    """The server has no such protocol."""


@dataclass(slots=True, frozen=True)
class Answer:
    """Status, headers by their names in lower case, and how long the body was."""

    status: int
    headers: Mapping[str, str]
    body_bytes: int
    start_of_body: bytes


class Client:
    """Transfers with one server. Objects are put into the bucket ``private``."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token

    def rest_upload(self, file: Path, key: str) -> None:
        """One request with the bare bytes."""
        with self._connected() as connection:
            head = {**self._authorized, "content-type": "application/octet-stream"}
            _expect(self._send(connection, "POST", f"/object/private/{key}", head, file), 200)

    def rest_download(self, key: str, size_bytes: int) -> None:
        """One request."""
        with self._connected() as connection:
            answer = self._send(connection, "GET", f"/object/authenticated/private/{key}", self._authorized)
            _expect(answer, 200, size_bytes)

    def tus_upload(self, file: Path, key: str) -> None:
        """A creation, and one request for each chunk."""
        names = {"bucketName": "private", "objectName": key, "contentType": "application/octet-stream"}
        metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in names.items())
        size_bytes = file.stat().st_size
        common = {**self._authorized, "tus-resumable": "1.0.0"}
        with self._connected() as connection:
            head = {**common, "upload-length": str(size_bytes), "upload-metadata": metadata}
            created = self._send(connection, "POST", "/upload/resumable", head)
            if created.status == 404:
                raise NotServed
            _expect(created, 201)
            path = urlsplit(created.headers["location"]).path
            for offset in range(0, size_bytes, TUS_CHUNK_BYTES):
                length = min(TUS_CHUNK_BYTES, size_bytes - offset)
                head = {**common, "upload-offset": str(offset), "content-type": "application/offset+octet-stream"}
                _expect(self._send(connection, "PATCH", path, head, file, offset, length), 204)

    def s3_upload(self, file: Path, key: str) -> None:
        """One presigned PUT."""
        with self._connected() as connection:
            answer = self._send(connection, "PUT", self._presigned("PUT", key), {}, file)
            if answer.status == 404:
                raise NotServed
            _expect(answer, 200)

    def s3_download(self, key: str, size_bytes: int) -> None:
        """One presigned GET."""
        with self._connected() as connection:
            answer = self._send(connection, "GET", self._presigned("GET", key), {})
            if answer.status == 404:
                raise NotServed
            _expect(answer, 200, size_bytes)

    @property
    def _authorized(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token}"}

    def _presigned(self, method: str, key: str) -> str:
        request = AWSRequest(method, f"http://127.0.0.1:{self._port}/s3/private/{key}")
        credentials = Credentials(S3_ACCESS_KEY, S3_SECRET_KEY)
        S3SigV4QueryAuth(credentials, "s3", REGION, expires=PRESIGNED_FOR_S).add_auth(request)
        parts = urlsplit(request.url)
        return f"{parts.path}?{parts.query}"

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT_S)

    def _send(
        self,
        connection: socket.socket,
        method: str,
        target: str,
        headers: Mapping[str, str],
        file: Path | None = None,
        offset: int = 0,
        length: int | None = None,
    ) -> Answer:
        size = (file.stat().st_size if length is None else length) if file is not None else 0
        lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Content-Length: {size}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        if file is not None:
            with file.open("rb") as source:
                sent = 0
                connection.settimeout(None)  # sendfile wants a socket that blocks
                while sent < size:
                    sent += os.sendfile(connection.fileno(), source.fileno(), offset + sent, size - sent)
                connection.settimeout(TIMEOUT_S)
        return _read_answer(connection)


def _read_answer(connection: socket.socket) -> Answer:
    buffer = memoryview(bytearray(BUFFER_BYTES))
    head = b""
    while b"\r\n\r\n" not in head:
        count = connection.recv_into(buffer)
        if not count:
            raise SystemExit(f"the server hung up: {head!r}")
        head += bytes(buffer[:count])
    head, _, body = head.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status, length = int(first.split()[1]), int(headers.get("content-length", "0"))
    received = len(body)
    while received < length:
        count = connection.recv_into(buffer)
        if not count:
            break
        received += count
    return Answer(status, headers, received, body[:500])


def _expect(answer: Answer, status: int, body_bytes: int | None = None) -> None:
    if answer.status != status or (body_bytes is not None and answer.body_bytes != body_bytes):
        raise SystemExit(
            f"a transfer was answered {answer.status} with {answer.body_bytes} bytes: {answer.start_of_body!r}"
        )
