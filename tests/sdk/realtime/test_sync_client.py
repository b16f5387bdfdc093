"""The sync client: it listens, in threads that it owns and ends, and callbacks may call it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from isobase.realtime import ChannelStates, RealtimeSubscribeStates, SyncRealtimeClient
from tests.sdk.realtime.conftest import WAIT_S, Events, Service
from tests.sdk.realtime.cutter import Cutter

SUBSCRIBED = RealtimeSubscribeStates.SUBSCRIBED


def realtime_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("isobase-realtime")]


def left_threads() -> list[str]:
    """Those that remain once what has handed its result over had the time to end."""
    deadline = time.monotonic() + WAIT_S
    while (left := realtime_threads()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


@pytest.mark.capability("realtime.client.disconnect", "realtime.client.connection_state")
def test_it_sends_and_hears_and_ends_its_threads(service: Service, topic: str) -> None:
    heard, states = Events(), Events()
    client = SyncRealtimeClient(service.url, service.anon_key)
    assert client.connection_state() == "closed"
    channel = client.channel(topic, {"config": {"broadcast": {"self": True, "ack": True}}})
    assert left_threads() == []
    channel.on_broadcast("e", heard).subscribe(states)
    assert states.seen == [(SUBSCRIBED, None)]
    assert client.connection_state() == "open"
    channel.send_broadcast("e", {"n": 1}, ack=True)
    heard.wait(heard.count(1))
    assert client.get_channels() == [channel]
    client.close()
    assert left_threads() == []
    assert client.connection_state() == "closed"
    assert not client.is_connected
    client.close()


def test_callbacks_run_one_after_another_in_order_and_may_call_the_client(service: Service, topic: str) -> None:
    heard: list[int] = []
    running = 0
    problems: list[str] = []

    with SyncRealtimeClient(service.url, service.anon_key) as client:
        channel = client.channel(topic, {"config": {"broadcast": {"self": True}}})

        def take(payload: object) -> None:
            nonlocal running
            running += 1
            if running != 1:
                problems.append("two at once")
            number = payload["payload"]["n"]  # type: ignore[index]
            heard.append(number)
            time.sleep(0.002)
            if number == 20:
                channel.send_broadcast("e", {"n": 21})  # from the callback
            if number == 21:
                channel.unsubscribe()
            running -= 1

        channel.on_broadcast("e", take).subscribe()
        for number in range(21):
            channel.send_broadcast("e", {"n": number})
        deadline = time.monotonic() + WAIT_S
        while not channel.is_closed and time.monotonic() < deadline:
            time.sleep(0.01)
    assert heard == list(range(22))
    assert problems == []
    assert left_threads() == []


def test_a_callback_may_close_the_client(service: Service, topic: str) -> None:
    closed = threading.Event()
    client = SyncRealtimeClient(service.url, service.anon_key)

    def close(*_: object) -> None:
        client.close()
        closed.set()

    client.channel(topic, {"config": {"broadcast": {"self": True}}}).on_broadcast(
        "e", close
    ).subscribe().send_broadcast("e", {})
    assert closed.wait(WAIT_S)
    assert left_threads() == []


def test_what_a_callback_raises_reaches_nobody_else(
    service: Service, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Events()

    def fail(_: object) -> None:
        raise ZeroDivisionError("of the app")

    with SyncRealtimeClient(service.url, service.anon_key) as client:
        channel = client.channel(topic, {"config": {"broadcast": {"self": True}}})
        channel.on_broadcast("e", fail).on_broadcast("e", heard).subscribe()
        channel.send_broadcast("e", {"n": 1})
        channel.send_broadcast("e", {"n": 2})
        heard.wait(heard.count(2))
    assert "of the app" in caplog.text


def test_coroutine_functions_are_refused_as_callbacks(service: Service, topic: str) -> None:
    async def callback(_: object) -> None: ...

    with SyncRealtimeClient(service.url, service.anon_key) as client, pytest.raises(TypeError, match="plain functions"):
        client.channel(topic).on_broadcast("e", callback)  # type: ignore[arg-type]


def test_broadcasts_can_be_iterated_over_until_the_client_is_closed(service: Service, topic: str) -> None:
    client = SyncRealtimeClient(service.url, service.anon_key)
    channel = client.channel(topic, {"config": {"broadcast": {"self": True}}})
    stream = channel.broadcasts("e")
    channel.subscribe()
    for number in range(3):
        channel.send_broadcast("e", {"n": number})
    numbers = []
    for payload in stream:
        numbers.append(payload["payload"]["n"])
        if len(numbers) == 3:
            client.close()
    assert numbers == [0, 1, 2]


def test_a_removed_channel_is_forgotten_and_the_last_one_ends_the_threads(service: Service, topic: str) -> None:
    states = Events()
    client = SyncRealtimeClient(service.url, service.anon_key)
    first, second = client.channel(f"{topic}-1"), client.channel(f"{topic}-2")
    first.subscribe(states)
    second.subscribe()
    client.remove_channel(first)
    states.wait(states.count(2))
    assert states.seen[-1] == (RealtimeSubscribeStates.CLOSED, None)
    assert client.get_channels() == [second]
    client.remove_channel(second)
    assert client.get_channels() == []
    assert left_threads() == []


def test_it_comes_back_after_its_connection_was_cut(service: Service, relay: Cutter, topic: str) -> None:
    heard, states = Events(), Events()
    with SyncRealtimeClient(f"{relay.url}/realtime/v1", service.anon_key, initial_backoff=0.05) as client:
        channel = client.channel(topic).on_broadcast("e", heard).subscribe(states)
        relay.cut()
        states.wait(lambda seen: [state for state, _ in seen].count(SUBSCRIBED) == 2)
        assert channel.state == ChannelStates.JOINED
        channel.http_send("e", {"n": 1})
        heard.wait(heard.count(1))


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "client.close()"])
def test_a_program_with_an_open_socket_ends_clean_and_quick(service: Service, topic: str, ending: str) -> None:
    program = f"""
    import logging, sys
    from isobase.realtime import SyncRealtimeClient
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # not that a step took a tenth of a second
    client = SyncRealtimeClient(sys.argv[1], sys.argv[2])
    client.channel(sys.argv[3]).on_broadcast("e", print).subscribe()
    assert client.is_connected
    {ending}
    """
    began = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-X",
            "dev",
            "-c",
            textwrap.dedent(program),
            service.url,
            service.anon_key,
            topic,
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == (3 if "3" in ending else 0)
    assert time.monotonic() - began < 50


def test_the_token_is_asked_for_in_a_thread_that_may_block(service: Service, topic: str) -> None:
    tokens: list[str] = []

    def token() -> str:
        tokens.append(threading.current_thread().name)
        time.sleep(0.05)  # may block
        return service.anon_key

    with SyncRealtimeClient(service.url, service.anon_key, access_token=token) as client:
        client.channel(topic).subscribe()
    assert set(tokens) == {"isobase-realtime-call"}


def test_closing_ends_calls_of_other_threads(service: Service, topic: str) -> None:
    client = SyncRealtimeClient(service.url, service.anon_key)
    channel = client.channel(topic).subscribe()
    ended: list[BaseException | None] = []
    pushed = threading.Event()

    def wait_for_what_never_comes() -> None:
        push = channel.push("nobody-replies-to-this", {}, 600)
        pushed.set()
        try:
            push.result()
            ended.append(None)
        except RuntimeError as error:
            ended.append(error)

    thread = threading.Thread(target=wait_for_what_never_comes)
    thread.start()
    assert pushed.wait(WAIT_S)
    time.sleep(0.1)
    client.close()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert left_threads() == []
    assert len(ended) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_leaves_its_parents_connection_alone_and_opens_its_own(service: Service, topic: str) -> None:
    script = """
import os, sys
from isobase import Client
client = Client(sys.argv[1], sys.argv[2])
options = {"config": {"broadcast": {"self": True}}}
before = client.channel(sys.argv[3], options).subscribe()
heard = before.broadcasts("word")
pid = os.fork()
if pid == 0:
    try:
        before.send_broadcast("word", {"by": "nobody"})
    except RuntimeError as error:
        print(str(error)[:53])
    assert not before.socket.is_connected
    with client:
        channel = client.channel(sys.argv[3], options)
        own = channel.broadcasts("word")
        channel.subscribe().send_broadcast("word", {"by": "child"})
        print(next(own)["payload"]["by"], flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
before.send_broadcast("word", {"by": "parent"})
print(next(heard)["payload"]["by"], next(heard)["payload"]["by"])
client.close()
"""
    shown = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, service.stack.url, service.anon_key, topic],
        timeout=100,
        capture_output=True,
        text=True,
    )
    assert shown.stderr == ""
    assert shown.stdout.splitlines() == [
        "this realtime client was opened before a fork, and it",
        "child",
        "child parent",
    ]
