"""Where the storage client's tests find a server, and pictures to upload."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pyvips

from tests.plugins.stack import Stack, StackProcess


@dataclass(slots=True, frozen=True)
class Api:
    """The storage API of a running Isobase."""

    url: str
    service_key: str
    anon_key: str

    @property
    def service(self) -> dict[str, str]:
        """The headers of service_role."""
        return {"apiKey": self.service_key, "Authorization": f"Bearer {self.service_key}"}

    @property
    def anon(self) -> dict[str, str]:
        """The headers of anon."""
        return {"apiKey": self.anon_key, "Authorization": f"Bearer {self.anon_key}"}


@dataclass(slots=True)
class Server:
    """An ``isobase start`` of these tests alone, which some of them stop and start again; it keeps its address and keys."""

    process: StackProcess
    stack: Stack


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of these tests."""
    with tempfile.TemporaryDirectory(prefix="isobase-sdk-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        process = StackProcess(directory)
        try:
            yield Server(process, process.start())
        finally:
            process.stop()


@pytest.fixture(scope="session")
def api(server: Server) -> Api:
    """Its storage API."""
    stack = server.stack
    return Api(f"{stack.url}/storage/v1/", stack.service_role_key, stack.anon_key)


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG of 40 by 20 pixels."""
    image = pyvips.Image.black(40, 20, bands=3).copy(interpretation="srgb")
    return bytes(image.write_to_buffer(".png"))
