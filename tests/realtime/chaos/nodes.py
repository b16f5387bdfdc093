"""Nodes of one project as processes, and the clients that watch what they do while nodes and Redis are killed."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import websockets

from tests.plugins.ports import free_ports
from tests.plugins.stack import ISOBASE, clean_environment
from tests.realtime.client import Phoenix
from tests.realtime.test_presence import fields_of, track

START_TIMEOUT_S = 120.0
TOPIC = "realtime:room"


class NodeProcess:
    """One ``isobase serve realtime`` that can be killed and started again on its port."""

    def __init__(self, number: int, directory: Path, environment: dict[str, str]) -> None:
        self.number = number
        (self.port,) = free_ports(1)
        self._directory = directory / f"node-{number}"
        self._directory.mkdir()
        self._environment = clean_environment() | environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        """What it says."""
        return self._directory / "serve.log"

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [str(ISOBASE), "serve", "realtime", "--workdir", str(self._directory), "--port", str(self.port)]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory, env=self._environment)

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self._process = self._spawn()
        deadline_s = time.monotonic() + START_TIMEOUT_S
        async with httpx.AsyncClient() as client:
            while True:
                with suppress(httpx.TransportError):
                    if (await client.get(f"http://127.0.0.1:{self.port}/health")).status_code == 200:
                        return
                assert self._process.poll() is None, self.log_path.read_text()
                assert time.monotonic() < deadline_s, self.log_path.read_text()
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)

    def pause(self, *, is_paused: bool) -> None:
        """Let it stand still, as a machine that is suspended does, or go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if is_paused else signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)


@dataclass
class Client:
    """A member of the room: it tracks itself, sends numbered broadcasts and keeps what it got, over all of its sockets."""

    node: NodeProcess
    key: str
    apikey: str
    socket: Phoenix | None = None
    lives: list[Phoenix] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def connect(self) -> None:
        """Connect, join and track."""
        self.socket = await Phoenix.connect(self.node.port, vsn="2.0.0", apikey=self.apikey)
        self.lives.append(self.socket)
        await self.socket.join("room", presence={"enabled": True, "key": self.key})
        await track(self.socket, {"life": len(self.lives)})

    async def say(self) -> None:
        """Send the next number; nothing while there is no socket."""
        if self.socket is not None:
            payload = {"by": self.key, "life": len(self.lives), "n": next(self.numbers)}
            message = {"type": "broadcast", "event": "n", "payload": payload}
            with suppress(websockets.ConnectionClosed):
                await self.socket.send(TOPIC, "broadcast", message)

    def check(self) -> int:
        """No message twice on one socket, and those of one sender in order. Returns how many came."""
        count = 0
        for socket in self.lives:
            got = [item.payload["payload"] for item in socket.events("broadcast")]
            count += len(got)
            doubled = [said for said, times in Counter((item["by"], item["n"]) for item in got).items() if times > 1]
            assert doubled == [], f"{self.key} got more than once: {doubled[:5]}"
            by_sender: dict[str, list[int]] = {}
            for item in got:
                by_sender.setdefault(item["by"], []).append(item["n"])
            for sender, numbers in by_sender.items():
                assert numbers == sorted(numbers), f"{self.key} got those of {sender} out of order"
        return count

    def present(self) -> dict[str, list[dict[str, Any]]]:
        """Who is there, as an official client makes it of the last state and the differences since."""
        assert self.socket is not None
        metas: dict[str, dict[str, dict[str, Any]]] = {}
        for item in self.socket.received:
            if item.event == "presence_state":
                metas = {key: {meta["phx_ref"]: meta for meta in one["metas"]} for key, one in item.payload.items()}
            elif item.event == "presence_diff":
                for key, one in item.payload["joins"].items():
                    metas.setdefault(key, {}).update({meta["phx_ref"]: meta for meta in one["metas"]})
                for key, one in item.payload["leaves"].items():
                    for meta in one["metas"]:
                        metas.get(key, {}).pop(meta["phx_ref"], None)
        whole = {key: {"metas": list(one.values())} for key, one in metas.items() if one}
        return fields_of(whole)
