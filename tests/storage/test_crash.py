"""kill -9 at the worst moments: what was acknowledged is there, what was not is invisible."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg2
import pytest

from isobase_platform.config import Settings
from tests.plugins.patience import until
from tests.plugins.s3 import S3Server
from tests.storage.conftest import running

O = "/storage/v1/object"  # noqa: E741
ROOT = Path(__file__).parents[2]
MORE_THAN_SOCKETS_HOLD_MB = 24


@contextlib.asynccontextmanager
async def server(
    settings: Settings, port: int = 0, **given: object
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A process that serves storage; killed at the end of the block if it still lives. ``given``: see the process."""
    process = await start(settings, port=port, **given)
    try:
        yield process, await address(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def address(process: asyncio.subprocess.Process) -> str:
    """Wait until the process serves, and say where."""
    assert process.stdout is not None
    return f"http://127.0.0.1:{int(await asyncio.wait_for(process.stdout.readline(), 60))}"


async def start(settings: Settings, port: int = 0, **given: object) -> asyncio.subprocess.Process:
    """Begin such a process."""
    assert settings.database.url is not None
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.storage.crashing_server",
        json.dumps(
            {
                "url": settings.database.url.get_secret_value(),
                "data_dir": str(settings.data_dir),
                "port": port,
                "storage": _backend(settings),
                **given,
            }
        ),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _blobs(settings: Settings) -> list[Path]:
    """The blobs of a server that runs elsewhere."""
    if settings.storage.backend == "s3":
        return [Path(key) for key in S3Server.of(settings.storage.s3).keys()]  # noqa: SIM118  no dictionary
    return [path for path in (settings.storage_root / "objects").rglob("*") if path.is_file()]


def _backend(settings: Settings) -> dict[str, object]:
    """Where the bytes are, as JSON; the secret in it is a test's."""
    s3 = settings.storage.s3.model_dump(mode="json")
    if settings.storage.s3.secret_access_key is not None:
        s3["secret_access_key"] = settings.storage.s3.secret_access_key.get_secret_value()
    return {"backend": settings.storage.backend, "s3": s3}


@pytest.mark.fault
async def test_a_server_killed_between_bytes_and_row_leaves_no_visible_object(database: Settings) -> None:
    assert database.database.url is not None
    dsn = database.database.url.get_secret_value()
    headers = {"authorization": f"Bearer {database.service_role_token}"}
    async with server(database) as (process, url), httpx.AsyncClient(base_url=url, timeout=60) as http:
        await http.post("/storage/v1/bucket", json={"name": "b", "public": True}, headers=headers)
        assert (await http.post(f"{O}/b/kept", content=b"kept", headers=headers)).status_code == 200

        with contextlib.closing(psycopg2.connect(dsn)) as lock, lock.cursor() as cursor:

            async def body() -> AsyncIterator[bytes]:
                # The dry run is over when more is asked for than sockets hold: from here on no row can be written.
                for _ in range(MORE_THAN_SOCKETS_HOLD_MB):
                    yield b"x" * 1_000_000
                cursor.execute("lock table storage.objects in share row exclusive mode")
                yield b"y"

            upload = asyncio.create_task(http.post(f"{O}/b/lost", content=body(), headers=headers))
            while len(_blobs(database)) < 2:
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            with pytest.raises(httpx.TransportError):
                await upload
            # The write may be with PostgreSQL already, and would go through whole: the other good end of a death here.
            cursor.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid <> pg_backend_pid()"
                " and datname = current_database() and backend_type = 'client backend'"
            )
            lock.rollback()

    async with running(database) as stack:
        assert stack.sql("select name from storage.objects") == [("kept",)]
        assert (await stack.http.get(f"{O}/public/b/kept")).content == b"kept"
        lost = await stack.http.get(f"{O}/public/b/lost")
        assert lost.json()["code"] == "NoSuchKey"
        assert (await stack.http.post(f"{O}/b/lost", content=b"again", headers=headers)).status_code == 200
        assert (await stack.http.get(f"{O}/public/b/lost")).content == b"again"


@pytest.mark.fault
async def test_every_acknowledged_upload_survives_a_kill(database: Settings) -> None:
    headers = {"authorization": f"Bearer {database.service_role_token}"}
    acknowledged: dict[str, bytes] = {}
    numbers: dict[str, int] = {}
    async with server(database) as (process, url), httpx.AsyncClient(base_url=url, timeout=60) as http:
        await http.post("/storage/v1/bucket", json={"name": "b", "public": True}, headers=headers)

        async def write(worker: int) -> None:
            for number in range(10_000):
                key, content = f"{worker}/{number % 5}", f"{worker} {number}".encode() * 100
                answer = await http.put(f"{O}/b/{key}", content=content, headers=headers)
                assert answer.status_code == 200
                acknowledged[key], numbers[key] = content, number

        workers = [asyncio.create_task(write(worker)) for worker in range(4)]
        while len(acknowledged) < 20:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        for outcome in await asyncio.gather(*workers, return_exceptions=True):
            assert isinstance(outcome, httpx.TransportError)
    async with running(database) as stack:
        for key, content in acknowledged.items():
            got = await stack.http.get(f"{O}/public/b/{key}")
            assert got.status_code == 200
            # The write after the acknowledged one may have come through unanswered, but never half of it.
            following = f"{key.split('/')[0]} {numbers[key] + 5}".encode() * 100
            assert got.content in (content, following), key


async def test_draining_lets_an_upload_end_before_the_store_is_closed(database: Settings) -> None:
    async with running(database) as stack:
        await stack.bucket("b", public=True)
        await stack.service._in_flight.wait(60)
        is_draining = asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield b"first "
            await is_draining.wait()
            await asyncio.sleep(0.1)
            yield b"second"

        upload = asyncio.create_task(stack.http.post(f"{O}/b/slow", content=body(), headers=stack.admin))
        await until(lambda: stack.service._in_flight._count)
        draining = asyncio.create_task(stack.service.drain(600))
        await asyncio.sleep(0.05)
        assert not draining.done()
        is_draining.set()
        assert (await upload).status_code == 200
        await draining
        assert stack.sql("select metadata->>'size' from storage.objects") == [("12",)]
