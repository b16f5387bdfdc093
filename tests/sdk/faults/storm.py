"""A network that goes wrong at random: links are cut, half closed, delayed, or silent for a while."""

from __future__ import annotations

import random
import threading
import time

from tests.plugins.wire_proxy import Link, WireProxy

__all__ = ["Storm"]

SILENCE_S = 0.4
DELAY_S = 0.15


class Storm:
    """Breaks what goes through ``network`` from ``begin`` to ``end``; the same ``seed`` chooses the same faults."""

    def __init__(self, network: WireProxy, seed: int, *, rate: float = 0.12) -> None:
        self._network = network
        self._random = random.Random(seed)
        self._rate = rate
        self._lock = threading.Lock()
        self.faults = 0

    def begin(self) -> None:
        """Let it blow."""
        self._network.on_request = self._judge
        self._network.on_answer = self._judge

    def end(self) -> None:
        """Let the network be well; what is cut stays cut."""
        self._network.heals()

    def _judge(self, link: Link, piece: bytes) -> bool:
        """Decide about a piece; True: it is dropped."""
        with self._lock:
            chance, kind, share = self._random.random(), self._random.randrange(6), self._random.random()
        if chance > self._rate:
            return False
        self.faults += 1
        match kind:
            case 0:  # nothing of it arrives
                link.cut()
                return True
            case 1:  # it arrives, and nothing after it
                self._pass(link, piece)
                link.cut()
                return True
            case 2:  # a part of it arrives
                self._pass(link, piece[: int(len(piece) * share)])
                link.cut()
                return True
            case 3:
                link.half_close()
                return False
            case 4:
                time.sleep(DELAY_S * share)
                return False
            case _:
                time.sleep(SILENCE_S)
                return False

    @staticmethod
    def _pass(link: Link, piece: bytes) -> None:
        for end in (link.server,) if threading.current_thread().name.endswith("request") else (link.client,):
            try:
                end.sendall(piece)
            except OSError:
                return
