"""A process that is stopped while it carries an object: the writer stays until it goes on, and an operator hears of whom."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from isobase_adapter.handover import HandoverLimits, HandoverRefused
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.app.move import REPOSITORY
from tests.adapter.app.operating import Mover
from tests.adapter.client.moving import set_stage
from tests.adapter.pair import Proxies
from tests.adapter.storage.conftest import BUCKET, Both
from tests.plugins.stack import clean_environment
from tests.plugins.wire_proxy import Link

KEY = "large.bin"
LARGE = os.urandom(8_000_000)
"""More than what is on its way in the buffers of its connections."""
LIMITS = HandoverLimits(calm_s=2, fence_s=2, lock_s=1)
WAIT_S = 60.0
UPLOADS = (b"POST /storage/v1/object/", b"PUT /storage/v1/object/")
ITEM = (
    "insert into isobase.outbox (state, capability, target, epoch, thing, lock_number)"
    " values ('pending', %s, 'isobase', 0, jsonb_build_object('kind', 'object', 'resource', %s, 'key', array[%s]), %s)"
)


async def test_a_writer_does_not_move_past_a_frozen_transfer_which_is_named(both: Both, proxied_pair: Proxies) -> None:
    pair, proxies = both.pair, proxied_pair
    set_stage(pair, "*", Stage.DUAL_WRITE)
    await both.put(Side.SUPABASE, KEY, LARGE)
    thing = Thing(ThingKind.OBJECT, BUCKET, (KEY,))
    pair.isobase.query(ITEM, f"bucket:{BUCKET}", BUCKET, KEY, thing.lock_number)
    loop, is_frozen = asyncio.get_running_loop(), asyncio.Event()

    def freeze(link: Link, piece: bytes) -> None:
        if piece.startswith(UPLOADS) and not is_frozen.is_set():
            os.kill(carrying.pid, signal.SIGSTOP)
            loop.call_soon_threadsafe(is_frozen.set)

    proxies.isobase.on_request = freeze
    carrying = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.adapter.app.drain",
        cwd=REPOSITORY,
        env=clean_environment() | proxies.pair.environment(),
    )
    try:
        async with asyncio.timeout(WAIT_S), Mover(pair, "*", limits=LIMITS) as mover:
            await is_frozen.wait()
            await both.put(Side.SUPABASE, KEY, b"newer")
            with pytest.raises(HandoverRefused, match=rf"isobase-migration storage {carrying.pid}@\S+ \(from 127"):
                await mover.hand_over(Side.ISOBASE)
            assert pair.isobase.query("select side, handing_over_to from isobase.writers") == [("supabase", None)]
            assert await both.read(Side.ISOBASE, KEY) is None
            os.kill(carrying.pid, signal.SIGCONT)
            while pair.isobase.query("select 1 from isobase.outbox"):
                await asyncio.sleep(0.05)
        async with asyncio.timeout(WAIT_S), Mover(pair, "*") as mover:
            assert (await mover.hand_over(Side.ISOBASE)).writer.side is Side.ISOBASE
        assert await both.read(Side.ISOBASE, KEY) == b"newer"
        assert both.rows(Side.ISOBASE) == both.rows(Side.SUPABASE)
    finally:
        proxies.isobase.on_request = None
        carrying.kill()
        await carrying.wait()
