"""Transformed images beside imgproxy: a photo of 1000 x 1000 pixels to 200 x 200. ``make bench-images`` runs it.

Isobase is measured as a client sees it (database, rights, cache), where every image is new to it and where it is kept
already; imgproxy alone, without the storage server that upstream has before it. Give it a running one with ``--imgproxy`` and
its directory of sources with ``--imgproxy-root``, set up as docs/testing.md says; without, Isobase alone is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import statistics
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pyvips

from benchmarks.load import Figures, check_programs, wrk
from benchmarks.servers import database
from benchmarks.storage.scenarios import service_token
from benchmarks.storage.servers import Peer, isobase, prepare

SIDE = 1000
ROUNDS = 3
PATIENCE_S = 30.0
FIXTURE = Path(__file__).parent / "rest" / "fixture.sql"


def photo() -> bytes:
    """A JPEG with as much detail as a photo has."""
    noise = pyvips.Image.gaussnoise(SIDE // 8, SIDE // 8, sigma=60, mean=128).resize(8)
    fine = pyvips.Image.gaussnoise(SIDE, SIDE, sigma=8, mean=0)
    bands = [(noise + fine * weight).cast("uchar") for weight in (1.0, 0.8, 1.2)]
    return bytes(bands[0].bandjoin(bands[1:]).copy(interpretation="srgb").jpegsave_buffer(Q=85))


def get(path: str) -> bytes:
    """A request of its own for ``path``."""
    return f"GET {path} HTTP/1.1\r\nhost: bench\r\naccept: */*\r\n\r\n".encode()


def upload(peer: Peer, content: bytes) -> None:
    """Store the photo in the public bucket."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.server.port, timeout=60)
    headers = {"authorization": f"Bearer {service_token()}", "content-type": "image/jpeg"}
    connection.request("POST", "/object/public/photo.jpg", content, headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"the photo was refused: {answer.read()!r}")
    connection.close()


def never_seen() -> Iterator[list[bytes]]:
    """Requests for images of the same size that nobody asked for before: each keeps a slightly other part."""
    path = "/render/image/public/public/photo.jpg?width=200&height=200&gravity=ce&x_offset="
    for start in itertools.count(0, 100_000):
        yield [get(f"{path}{(start + number) / 1e9:.9f}") for number in range(4000)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--imgproxy", help="URL of a running imgproxy")
    parser.add_argument("--imgproxy-root", type=Path, help="its directory of sources")
    given = parser.parse_args()
    check_programs()
    content, fresh = photo(), never_seen()
    with database(FIXTURE) as shared, isobase(shared) as peer:
        asyncio.run(prepare(peer))
        upload(peer, content)
        port = peer.server.port
        kept = [get("/render/image/public/public/photo.jpg?width=200&height=200")]
        wrk(kept, port, clients=given.clients, seconds=1, patience_s=PATIENCE_S)
        runs: dict[str, list[Figures]] = {"Isobase, new": [], "Isobase, kept": []}
        for _ in range(ROUNDS):
            for name, requests in (("Isobase, new", next(fresh)), ("Isobase, kept", kept)):
                runs[name].append(
                    wrk(requests, port, clients=given.clients, seconds=given.seconds, patience_s=PATIENCE_S)
                )
            if given.imgproxy:
                (given.imgproxy_root / "photo.jpg").write_bytes(content)
                asked = [get("/public/height:200/width:200/resizing_type:fill/plain/local:///photo.jpg")]
                their_port = urlsplit(given.imgproxy).port or 80
                figures = wrk(asked, their_port, clients=given.clients, seconds=given.seconds, patience_s=PATIENCE_S)
                runs.setdefault("imgproxy", []).append(figures)
        workers = sum(child.memory_info().rss for child in psutil.Process(peer.server.pid).children(recursive=True))
        print(f"photo of {len(content) // 1024} KiB, {given.clients} clients")
        print("| | images/s | lowest-highest | p99 ms |\n|---|---|---|---|")
        for name, figures_of_runs in runs.items():
            rates = [one.per_s for one in figures_of_runs]
            p99_ms = statistics.median(one.p99_ms for one in figures_of_runs)
            print(f"| {name} | {statistics.median(rates):.0f} | {min(rates):.0f}-{max(rates):.0f} | {p99_ms:.0f} |")
        print(
            f"server {peer.server.memory_mb():.0f} MB with its processes (PSS); processes alone {workers / 1e6:.0f} MB (RSS)"
        )


if __name__ == "__main__":
    main()
