"""Binary frames of 2.0.0 and what cannot travel by them, byte by byte (contract 1.3)."""

from __future__ import annotations

import httpx
import pytest

from tests.realtime.client import PATIENCE_S
from tests.realtime.conftest import Stack
from tests.realtime.scenarios import HI, TOPIC, Step, Up, fan_out, join, joined, play, reply, up

pytestmark = pytest.mark.asyncio(loop_scope="module")


def push(topic: str, event: str, content: bytes, *, join_ref: str = "1", ref: str = "2", encoding: int = 1) -> bytes:
    """Binary type 3."""
    fields = [part.encode() for part in (join_ref, ref, topic, event, "")]
    return bytes([3, *map(len, fields), encoding]) + b"".join(fields) + content


@pytest.mark.parametrize("size", [1, 254, 255])
async def test_fields_of_binary_frames_hold_up_to_255_bytes(shared_stack: Stack, size: int) -> None:
    topic = "realtime:" + "é" * ((size - 9) // 2) + "b" * ((size - 9) % 2) if size > 9 else "realtime:b"
    event, ref = "e" * size, "r" * size
    sender, new, old = [await shared_stack.connect(vsn=vsn) for vsn in ("2.0.0", "2.0.0", "1.0.0")]
    for socket in (sender, new, old):
        await socket.join(topic.removeprefix("realtime:"), broadcast={"ack": True})
    await sender.send_raw(push(topic, event, b'{"a":1}', ref=ref))
    assert (await sender.reply(ref)).payload == {"status": "ok", "response": {}}
    head = bytes([4, len(topic.encode()), size, 0, 1])
    assert (await new.event("broadcast")).binary == head + topic.encode() + event.encode() + b'{"a":1}'
    assert (await old.event("broadcast")).payload == {"type": "broadcast", "event": event, "payload": {"a": 1}}


async def test_name_too_long_for_a_binary_frame_travels_as_text(shared_stack: Stack) -> None:
    sender, new = await shared_stack.connect(), await shared_stack.connect()
    name = "n" * 300
    await new.join(name)
    await sender.join("short")
    await new.join("short")
    async with httpx.AsyncClient(base_url=f"{shared_stack.url}/realtime/v1", timeout=PATIENCE_S) as http:
        for topic, event in ((name, "e"), ("short", "e" * 300)):
            url = f"/api/broadcast/{topic}/events/{event}"
            assert (await http.post(url, json={}, headers={"apikey": shared_stack.anon_key})).status_code == 202
            got = await new.event("broadcast")
            assert got.raw == [
                None,
                None,
                f"realtime:{topic}",
                "broadcast",
                {"type": "broadcast", "event": event, "payload": {}},
            ]
            raw = await http.post(
                url,
                content=b"\xff",
                headers={"apikey": shared_stack.anon_key, "content-type": "application/octet-stream"},
            )
            assert raw.status_code == 202
    await new.send("phoenix", "heartbeat", {}, ref="end")
    await new.reply("end")
    # Raw bytes have no form as text: they reach nobody.
    assert len(new.events("broadcast")) == 2


async def test_frames_that_no_client_should_send_are_dropped_and_later_ones_answered(shared_stack: Stack) -> None:
    for vsn, frames in (
        (
            "2.0.0",
            [push(TOPIC, "e", b"{"), push(TOPIC, "e", b"{}", encoding=9), b"", b"\x03", b"\x00" * 40, b"\x04" * 40],
        ),
        (
            "1.0.0",
            [push(TOPIC, "e", b"{}"), "[]", '["1","1","a","b",{}]', '{"topic":"a"}', '{"event":"a"}', "null", "{}"],
        ),
    ):
        steps: list[Step] = [join({"broadcast": {"ack": True, "self": True}}), joined()]
        steps += [Up(frame) for frame in frames]
        steps += [up("broadcast", HI), *fan_out("broadcast", HI), reply("2")]
        await play(shared_stack, vsn, steps)
