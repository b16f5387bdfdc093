"""Sources that mean harm: each is refused, in bounded memory and time, and the next image is rendered."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pyvips

from isobase_platform.config import Settings
from tests.plugins.patience import until
from tests.storage.conftest import Stack, refusal, running, with_storage
from tests.storage.hostile_images import corpus, filter_bomb, png_of_zeros, use_bomb
from tests.storage.images import encoded, gradient, opened, picture

V1 = "/storage/v1"
IMAGES = f"{V1}/render/image/public/pictures"
MIB = 1024 * 1024
WORKER_PEAK_BYTES = 400 * MIB
SERVER_GROWTH_BYTES = 60 * MIB
UNSUPPORTED = "The source image is invalid or unsupported for rendering"
TOO_MANY_PIXELS = "The source image resolution is too large to process"
TOO_MANY = frozenset(
    {
        "a PNG of 50,000 x 50,000",
        "a JPEG of 65,500 x 65,500",
        "a GIF that is large by its frames",
        "an AVIF that claims 30,000 x 30,000",
    }
)


class Memory:
    """The most that this process and its rendering processes have held, looked at every few milliseconds."""

    def __init__(self) -> None:
        self._server = psutil.Process()
        self.before_bytes = self.server_bytes = self._server.memory_info().rss
        self.worker_bytes = 0
        self.workers: set[int] = set()

    def look(self) -> None:
        self.server_bytes = max(self.server_bytes, self._server.memory_info().rss)
        for child in workers(self._server):
            with contextlib.suppress(psutil.NoSuchProcess):
                self.worker_bytes = max(self.worker_bytes, child.memory_info().rss)
                self.workers.add(child.pid)

    async def watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.01)


def workers(server: psutil.Process | None = None) -> list[psutil.Process]:
    found = []
    for child in (server or psutil.Process()).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("isobase_services.storage.render.worker" in argument for argument in child.cmdline()):
                found.append(child)
    return found


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[Memory]:
    memory = Memory()
    task = asyncio.create_task(memory.watch())
    try:
        yield memory
    finally:
        task.cancel()
        memory.look()


async def put(stack: Stack, name: str, content: bytes) -> None:
    headers = {**stack.admin, "x-upsert": "true"}
    answer = await stack.put(f"pictures/{name}", content, headers, **{"content-type": "image/png"})
    assert answer.status_code == 200, answer.text


async def is_well(stack: Stack) -> None:
    answer = await stack.http.get(f"{IMAGES}/good?width=20&height=20&quality={int(time.time()) % 80 + 20}")
    assert answer.status_code == 200, answer.text
    assert opened(answer.content).width == 20


@pytest.fixture
async def pictures(database: Settings) -> AsyncIterator[Stack]:
    async with running(with_storage(database, images={"workers": 1})) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "good", picture(100, 80))
        yield stack


async def test_every_source_of_the_corpus_is_refused_and_the_next_image_is_rendered(pictures: Stack) -> None:
    async with watched() as memory:
        for name, content in corpus().items():
            await put(pictures, "bad", content)
            for query in ("width=50", "format=webp"):
                begun_s = time.monotonic()
                answer = await pictures.http.get(f"{IMAGES}/bad?{query}")
                message = TOO_MANY_PIXELS if name in TOO_MANY else UNSUPPORTED
                assert refusal(answer) == (400, "400", "InvalidRequest", message), (name, query)
                assert time.monotonic() - begun_s < 30, name
        await is_well(pictures)
    assert memory.worker_bytes < WORKER_PEAK_BYTES
    assert memory.server_bytes - memory.before_bytes < SERVER_GROWTH_BYTES


async def test_an_svg_that_is_endless_work_is_given_up_and_not_begun_again(
    database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(with_storage(database, images={"workers": 1})) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "good", picture(100, 80))
        await put(stack, "bomb", filter_bomb())
        images, jobs = stack.service.core.images, 0
        run = images._pool.run

        async def counted(*args: Any) -> Any:
            nonlocal jobs
            jobs += 1
            return await run(*args)

        monkeypatch.setattr(images._pool, "run", counted)
        with monkeypatch.context() as impatient:  # for these alone, which no time is enough for
            impatient.setattr(images, "_settings", images._settings.model_copy(update={"timeout_s": 1.5}))
            begun_s = time.monotonic()
            answer = await stack.http.get(f"{IMAGES}/bomb?format=webp")
            assert refusal(answer) == (400, "408", "InvalidRequest", "Image request timed out")
            assert 1.4 < time.monotonic() - begun_s < 30
            again = await stack.http.get(f"{IMAGES}/bomb?format=webp")
            assert again.json() == answer.json()
            assert jobs <= 1  # it may have run out of time before there was a process
        await is_well(stack)
        await put(stack, "bomb", use_bomb())
        with monkeypatch.context() as impatient:
            impatient.setattr(images, "_settings", images._settings.model_copy(update={"timeout_s": 1.5}))
            assert (await stack.http.get(f"{IMAGES}/bomb?format=webp")).status_code == 400
        # As SVG it is for the browser to draw, or not.
        assert (await stack.http.get(f"{IMAGES}/bomb")).status_code == 200


async def test_the_largest_sources_that_are_allowed_are_rendered_within_bounds(pictures: Stack) -> None:
    large = {
        "grey PNG of 49 million pixels": png_of_zeros(7000, 7000, rows=7000),
        "interlaced PNG": encoded(gradient(2000, 1500), ".png", interlace=True, compression=1),
        "progressive JPEG": picture(4000, 3000, ".jpg", interlace=True),
    }
    async with watched() as memory:
        for name, content in large.items():
            await put(pictures, "large", content)
            answer = await pictures.http.get(f"{IMAGES}/large?width=100&height=100")
            assert answer.status_code == 200, (name, answer.text)
    assert memory.worker_bytes < WORKER_PEAK_BYTES
    assert memory.server_bytes - memory.before_bytes < SERVER_GROWTH_BYTES + sum(
        len(content) for content in large.values()
    )


async def test_a_source_that_is_too_large_is_refused_before_it_is_read(database: Settings) -> None:
    async with running(with_storage(database, images={"max_source_bytes": 1000})) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "large", picture(300, 300))
        answer = await stack.http.get(f"{IMAGES}/large?width=10")
        message = "The source image file is too large to process"
        assert refusal(answer) == (400, "400", "InvalidRequest", message)
        # The row may say anything; what is read decides.
        stack.sql("update storage.objects set metadata = metadata || '{\"size\": 10}' where name = 'large'")
        assert refusal(await stack.http.get(f"{IMAGES}/large?width=10"))[3] == message
        assert not workers()


async def test_a_process_that_dies_is_replaced(pictures: Stack) -> None:
    await is_well(pictures)
    (first,) = workers()
    first.kill()
    first.wait()
    await put(pictures, "good", picture(100, 81))
    await is_well(pictures)
    (second,) = workers()
    assert second.pid != first.pid


SERVER_THAT_DIES = """
import asyncio, os, signal, sys, tempfile
from isobase_platform.config_storage.images import ImageSettings
from isobase_services.storage.render.plan import plan
from isobase_services.storage.render.pool import PoolLimits, RenderPool
from isobase_services.storage.render.transform import Format, Transform

async def main():
    pool = RenderPool(PoolLimits(processes=1, max_waiting=1, memory_bytes=2**30, timeout_s=60, idle_s=60))
    job = plan(Transform(format=Format.WEBP), "", ImageSettings())
    with open(sys.argv[1], "rb") as source, tempfile.TemporaryFile() as result:
        running = asyncio.create_task(pool.run(job, source.fileno(), result.fileno()))
        while not open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().strip():
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        print(open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and only Linux ends a process with its parent")
def test_a_server_that_is_killed_leaves_no_process_at_work(tmp_path: Path) -> None:
    source = tmp_path / "bomb.svg"
    source.write_bytes(filter_bomb())
    done = subprocess.run(
        [sys.executable, "-c", SERVER_THAT_DIES, str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
    (worker,) = (int(pid) for pid in done.stdout.split())
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            if psutil.Process(worker).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.05)
    raise AssertionError("the rendering process goes on")


async def test_a_process_knows_nothing_of_the_service(pictures: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISOBASE_JWT_SECRET", "a secret that is not told")
    await is_well(pictures)
    (worker,) = workers()
    environment = worker.environ()
    assert set(environment) <= {"LANG", "PATH", "MALLOC_ARENA_MAX", "VIPS_WARNING", "G_MESSAGES_DEBUG", "LC_CTYPE"}
    assert worker.open_files() == []
    assert worker.rlimit(psutil.RLIMIT_AS)[1] == 1024 * MIB
    assert worker.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert worker.cwd() == "/"


async def test_processes_start_with_the_first_image_and_end_when_idle(
    database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(with_storage(database, images={"worker_idle_s": 600, "workers": 2})) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "good", picture(100, 80))
        assert workers() == []
        await is_well(stack)
        assert len(workers()) == 1
        pool = stack.service.core.images._pool
        with monkeypatch.context() as soon:
            soon.setattr(pool, "_limits", dataclasses.replace(pool._limits, idle_s=0.1))
            await put(stack, "good", picture(102, 80))
            await is_well(stack)
            await until(lambda: not workers())
        await put(stack, "good", picture(101, 80))
        await is_well(stack)
        assert len(workers()) == 1
    assert workers() == []


async def test_more_requests_than_may_wait_are_refused_and_the_others_served(database: Settings) -> None:
    async with running(with_storage(database, images={"workers": 1, "max_waiting": 2})) as stack:
        await stack.bucket("pictures", public=True)
        await put(stack, "good", picture(1500, 1500))
        answers = await asyncio.gather(
            *(stack.http.get(f"{IMAGES}/good?width={width}&height=900") for width in range(900, 912))
        )
        kinds = {answer.status_code if answer.status_code == 200 else refusal(answer) for answer in answers}
        assert kinds == {200, (400, "429", "InvalidRequest", "Too many requests")}
        assert sum(answer.status_code == 200 for answer in answers) >= 3


async def test_the_same_image_asked_for_at_once_is_made_once(pictures: Stack) -> None:
    url = f"{IMAGES}/good?width=33&height=33"
    async with watched() as memory:
        answers = await asyncio.gather(*(pictures.http.get(url) for _ in range(10)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert len(memory.workers) == 1


HOSTILE_SVG = b"""<?xml version="1.0"?><?xml-stylesheet href="http://127.0.0.1:9/x.css"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [<!ENTITY colour "red">]>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="20" height="20" onload="alert(1)">
<script>alert(2)</script><SCRIPT>alert(3)</SCRIPT><x:script xmlns:x="http://www.w3.org/2000/svg">alert(4)</x:script>
<!-- a comment -->
<image href="file:///etc/passwd" width="5" height="5"/><image xlink:href="http://127.0.0.1:9/a.png" width="5" height="5"/>
<image href="data:image/png;base64,AAAA" width="1" height="1"/><image href="data:text/html,x" width="1" height="1"/>
<use href="//evil.example/x.svg#a"/><use xlink:href="#inner"/>
<a href="java&#x9;script:alert(5)"><text>link</text></a><a xlink:href="https://example.org/"><text>fine</text></a>
<set attributeName="href" to="javascript:alert(6)"/><animate attributeName="onclick" values="alert(7)"/>
<animate attributeName="x" from="0" to="10" dur="1s"/>
<style>@import url(http://127.0.0.1:9/s.css);</style><style>.a { fill: u\\72l(http://127.0.0.1:9/f) }</style>
<style>.b { fill: url(#g) } .c &gt; .d { fill: blue }</style>
<rect id="inner" width="20" height="20" fill="&colour;" style="filter:url( 'http://127.0.0.1:9/f#x' )" OnClick="alert(8)"/>
<foreignObject><iframe xmlns="http://www.w3.org/1999/xhtml" src="http://127.0.0.1:9/"></iframe></foreignObject>
<text>1 &lt; 2 &amp; "3"</text>
</svg>"""


async def test_an_svg_comes_back_without_what_could_run_or_reach_out(pictures: Stack) -> None:
    await put(pictures, "a.svg", HOSTILE_SVG)
    answer = await pictures.http.get(f"{IMAGES}/a.svg?width=10", headers={"accept": "image/webp,*/*"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    text = answer.text
    for gone in (
        "alert",
        "cript",
        "passwd",
        "127.0.0.1",
        "evil",
        "text/html",
        "onload",
        "comment",
        "iframe",
        "xml-style",
        "DOCTYPE",
    ):
        assert gone not in text, gone
    for kept in (
        '<rect id="inner" width="20" height="20" fill="red">',
        'xlink:href="#inner"',
        'href="data:image/png;base64,AAAA"',
        'xlink:href="https://example.org/"',
        '<animate attributeName="x" from="0" to="10" dur="1s">',
        ".b { fill: url(#g) } .c &gt; .d { fill: blue }",
        '1 &lt; 2 &amp; "3"',
    ):
        assert kept in text, kept


async def test_an_svg_that_becomes_pixels_reaches_nothing(pictures: Stack) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await put(pictures, "a.svg", HOSTILE_SVG.replace(b"127.0.0.1:9", f"127.0.0.1:{port}".encode()))
    rendered = await pictures.http.get(f"{IMAGES}/a.svg?format=webp&width=20&height=20")
    assert rendered.headers["content-type"] == "image/webp"
    assert opened(rendered.content).getpoint(10, 10)[:3] == pytest.approx([255, 0, 0], abs=8)
    server.close()
    await server.wait_closed()
    assert asked == []


async def test_metadata_as_large_as_it_gets_is_left_out(pictures: Stack) -> None:
    image = gradient(100, 100).copy()

    image.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x>" + b"secret place " * 4000 + b"</x>")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", b"\0" * 3_000_000)
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd3-GPSLatitude", "52/1 31/1 0/1")
    source = encoded(image, ".jpg")
    await put(pictures, "exif", source)
    answer: httpx.Response = await pictures.http.get(f"{IMAGES}/exif?width=90&height=90")
    assert answer.status_code == 200, answer.text
    for word in (b"secret", b"Exif", b"ICC_PROFILE", b"http://ns.adobe.com"):
        assert word not in answer.content
