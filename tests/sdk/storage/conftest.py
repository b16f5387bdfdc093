"""Where the storage client's tests find a server, and pictures to upload."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pyvips

import isobase.storage._async.client
import isobase.storage._sync.client
from tests.plugins.fault_proxy import Break, FaultProxy, fault_proxy
from tests.plugins.patience import STALL_S
from tests.plugins.scratch import scratch_root
from tests.plugins.stack import Stack, StackProcess

UPSTREAM_URL = os.environ.get("STORAGE_UPSTREAM_URL", "") if os.environ.get("STORAGE_UPSTREAM_FILES") else ""


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember uploads of the tests nowhere else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a machine that stands still be no failure of a call whose time no test says."""
    for module in (isobase.storage._async.client, isobase.storage._sync.client):
        monkeypatch.setattr(module, "DEFAULT_TIMEOUT", STALL_S)


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
    with tempfile.TemporaryDirectory(prefix="isobase-sdk-", dir=scratch_root()) as name:
        directory = Path(name)
        directory.chmod(0o755)
        process = StackProcess(directory)
        try:
            yield Server(process, process.start())
        finally:
            process.stop()


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Api:
    """The storage API of that server; of the real supabase/storage where ``make test-sdk-storage-upstream`` names one."""
    if UPSTREAM_URL:
        return Api(UPSTREAM_URL, os.environ["STORAGE_UPSTREAM_KEY"], os.environ["STORAGE_UPSTREAM_ANON_KEY"])
    stack = request.getfixturevalue("server").stack
    return Api(f"{stack.url}/storage/v1/", stack.service_role_key, stack.anon_key)


@pytest.fixture
def renderer_and_network() -> None:
    """What a supabase/storage alone does not bring: imgproxy, and a delivery network to tell of changes."""
    if UPSTREAM_URL and not os.environ.get("STORAGE_UPSTREAM_IS_WHOLE"):
        pytest.skip("STORAGE_UPSTREAM_IS_WHOLE does not say that the server has imgproxy and CDN_PURGE_ENDPOINT_URL")


class Proxy:
    """A proxy before the storage API, in a loop and thread of its own, so that both clients can use it."""

    def __init__(self, api: Api, inner: FaultProxy) -> None:
        self.api = api
        self._inner = inner
        self.api_url = inner.url + urlsplit(api.url).path

    @property
    def seen(self) -> list[str]:
        """Method and target of each request."""
        return self._inner.seen

    @property
    def open_answers(self) -> int:
        """How many answers are on their way."""
        return self._inner.open_answers

    def breaks(self, fault: Break, matches: Callable[[str, str], bool], *, times: int = 10**9) -> None:
        """From now on the next requests that fit go wrong so."""
        self._inner.breaks(fault, matches, times=times)

    def heals(self) -> None:
        """Nothing goes wrong any more."""
        self._inner.heals()


@pytest.fixture
def proxy(api: Api) -> Iterator[Proxy]:
    """A proxy that breaks what a test says."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    manager = fault_proxy(api.url)
    inner = asyncio.run_coroutine_threadsafe(manager.__aenter__(), loop).result()
    yield Proxy(api, inner)
    asyncio.run_coroutine_threadsafe(manager.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def picture() -> bytes:
    """A PNG of 40 by 20 pixels."""
    image = pyvips.Image.black(40, 20, bands=3).copy(interpretation="srgb")
    return bytes(image.write_to_buffer(".png"))
