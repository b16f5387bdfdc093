"""Clients outlive what they were made in: another event loop, a forked process. And nothing outlives them."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from isobase._http import SyncSession
from tests.sdk.core.conftest import Heard, WireServer, answer


def test_one_async_client_serves_one_event_loop_after_the_other(wire: WireServer) -> None:
    script = """
import asyncio, sys
from isobase import AsyncClient
client = AsyncClient(sys.argv[1], "key")
async def read():
    return (await client.table("t").select("*").execute()).data
print([asyncio.run(read()) for _ in range(3)])
"""
    shown = subprocess.run(
        [sys.executable, "-c", script, wire.url], check=True, timeout=100, capture_output=True, text=True
    )
    assert shown.stdout.strip() == "[[], [], []]"
    assert shown.stderr == ""
    assert wire.connections == 3


def test_one_async_client_serves_event_loops_of_several_threads(wire: WireServer) -> None:
    script = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from isobase import AsyncClient
sys.setswitchinterval(1e-5)
client = AsyncClient(sys.argv[1], "key")
async def read():
    return [(await client.table("t").select("*").execute()).data for _ in range(50)]
def run(_):
    return asyncio.run(read(), debug=True)  # debugging, asyncio refuses what is done from a thread that is not the loop's
with ThreadPoolExecutor(8) as threads:
    print(sum(len(each) for each in threads.map(run, range(8))))
"""
    shown = subprocess.run([sys.executable, "-c", script, wire.url], timeout=100, capture_output=True, text=True)
    assert shown.stdout.strip() == "400", shown.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not exist for Windows")
def test_a_client_works_on_uvloop(wire: WireServer) -> None:
    script = """
import sys, uvloop
from isobase import Cancellation, CallCancelled, DeadlineExceeded, call_options, create_async_client
async def main():
    async with await create_async_client(sys.argv[1], "key") as client:
        for _ in range(3):
            print((await client.table("t").select("*").execute()).data)
        async with client.postgrest.session.stream("GET", sys.argv[1] + "/long") as response:
            async for part in response.aiter_bytes():
                break
        try:
            with call_options(timeout=0.3):
                await client.table("hangs").select("*").execute()
        except DeadlineExceeded:
            print("in time")
uvloop.run(main())
"""

    def reply(heard: Heard, _number: int) -> bytes:
        if "hangs" in heard.target:
            wire.closing.wait()
        return answer(b"x" * 1_000_000) if heard.target == "/long" else answer()

    wire.answer = reply
    shown = subprocess.run([sys.executable, "-c", script, wire.url], timeout=100, capture_output=True, text=True)
    assert shown.stderr == ""
    assert shown.stdout.split("\n")[:4] == ["[]", "[]", "[]", "in time"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_does_not_write_into_its_parents_connection(wire: WireServer) -> None:
    script = """
import os, sys
from isobase._http import SyncSession
session = SyncSession(timeout=60.0)
session.request("GET", sys.argv[1] + "/parent")
pid = os.fork()
session.request("GET", sys.argv[1] + ("/child" if pid == 0 else "/parent-again"))
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
session.request("GET", sys.argv[1] + "/parent-at-last")
session.close()
"""
    subprocess.run([sys.executable, "-c", script, wire.url], check=True, timeout=100)
    assert sorted(heard.target for heard in wire.heard) == ["/child", "/parent", "/parent-again", "/parent-at-last"]
    assert wire.connections == 2


def test_a_client_that_nobody_closed_does_not_keep_the_process_alive(wire: WireServer) -> None:
    script = (
        "import sys, isobase; print(isobase.create_client(sys.argv[1], 'key').table('t').select('*').execute().data)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, wire.url], check=True, timeout=100, capture_output=True, text=True
    )
    assert shown.stdout.strip() == "[]"
    assert shown.stderr == ""


def test_many_threads_share_one_session(wire: WireServer) -> None:
    with SyncSession() as session, ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: session.request("GET", wire.url).status_code, range(200)))
    assert statuses == [200] * 200
    assert wire.connections <= 8


def test_a_monitor_that_came_before_the_client_is_seen_too() -> None:
    program = """
import asyncio, httpx
async def watched(self, request, **how):
    return httpx.Response(200, json=["seen"], request=request)
def watched_sync(self, request, **how):
    return httpx.Response(200, json=["seen"], request=request)
httpx.AsyncClient.send, httpx.Client.send = watched, watched_sync
from isobase._http import AsyncSession, SyncSession
print(SyncSession().request("GET", "http://nowhere.invalid").json())
print(asyncio.run(AsyncSession().request("GET", "http://nowhere.invalid")).json())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["['seen']"] * 2, done.stderr


def test_under_a_monitor_too_one_client_serves_one_event_loop_after_the_other(wire: WireServer) -> None:
    script = """
import asyncio, sys, httpx
from isobase import AsyncClient
original = httpx.AsyncHTTPTransport.handle_async_request
async def watched(self, request):
    print("seen")
    return await original(self, request)
httpx.AsyncHTTPTransport.handle_async_request = watched
client = AsyncClient(sys.argv[1], "key")
async def read():
    return (await client.table("t").select("*").execute()).data
for _ in range(3):
    print(asyncio.run(read()))
async def close():
    await client.close()
asyncio.run(close())
"""
    shown = subprocess.run(
        [sys.executable, "-c", script, wire.url], check=False, timeout=100, capture_output=True, text=True
    )
    assert shown.stdout.split() == ["seen", "[]"] * 3, shown.stderr
