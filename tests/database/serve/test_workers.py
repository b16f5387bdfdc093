"""Several workers on the same sockets."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time

import httpx
import psutil
import psycopg2

from tests.database.serve.conftest import DATABASE, LOGIN, Place, Program

PATIENCE_S = 60.0


def workers(program: Program) -> list[int]:
    return [child.pid for child in psutil.Process(program.process.pid).children()]


def wait_for_listeners(place: Place, count: int) -> None:
    """Each worker listens for notices once it has loaded the schema cache."""
    deadline_s = time.monotonic() + PATIENCE_S
    sql = "select count(*) from pg_stat_activity where usename = %s and query like 'LISTEN%%'"
    while place.server.execute(sql, LOGIN) != [(count,)]:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def wait_for_resting(place: Place, count: int) -> None:
    """Wait until so many calls of ``api.rest`` have come to its lock."""
    deadline_s = time.monotonic() + PATIENCE_S
    while place.server.execute("select count(*) from pg_locks where locktype = 'advisory' and not granted") != [
        (count,)
    ]:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def wait_for_refusal(program: Program) -> None:
    """Wait until connections are refused at once; none is taken by a socket that nobody answers on."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        # Lost is what came in the moment in which the socket was closed.
        with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            try:
                httpx.get(f"http://127.0.0.1:{program.port}/items", timeout=PATIENCE_S)
            except httpx.ConnectError:
                return
    raise AssertionError("connections are taken still")


def test_workers_share_the_port_and_a_killed_one_is_replaced(place: Place) -> None:
    with place.serving("--workers", "2") as program:
        wait_for_listeners(place, 2)
        before = workers(program)
        assert len(before) == 2
        os.kill(before[1], signal.SIGKILL)
        deadline_s = time.monotonic() + PATIENCE_S
        answers = []
        while len(set(workers(program)) - {before[1]}) < 2:
            assert time.monotonic() < deadline_s, program.log.read_text()
            with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):  # a connection of the killed worker
                answers.append(httpx.get(f"http://127.0.0.1:{program.port}/items", timeout=PATIENCE_S).status_code)
        assert set(answers) <= {200}
        assert before[0] in workers(program)
        wait_for_listeners(place, 2)
        place.execute("create table api.for_all (id int); grant select on api.for_all to serve_anon; notify pgrst")
        for _ in range(8):
            program.eventually("/for_all", 200)
        metrics = program.admin("/metrics").text
        assert "pgrst_db_pool_max 20.0" in metrics
        loads = re.search(r'pgrst_schema_cache_loads_total\{status="SUCCESS"\} (\d+)', metrics)
        assert loads is not None
        assert int(loads.group(1)) >= 3, "those of both workers: at start, and for the notice"


def test_sigterm_lets_every_worker_end_what_it_answers(place: Place) -> None:
    with place.serving("--workers", "2") as program:
        wait_for_listeners(place, 2)
        answers: list[str] = []

        def rest() -> None:
            answers.append(httpx.get(f"http://127.0.0.1:{program.port}/rpc/rest", timeout=PATIENCE_S).json())

        threads = [threading.Thread(target=rest) for _ in range(4)]
        with contextlib.closing(psycopg2.connect(place.server.dsn(DATABASE))) as gate, gate.cursor() as cursor:
            cursor.execute("select pg_advisory_lock(4711)")
            for thread in threads:
                thread.start()
            wait_for_resting(place, len(threads))
            program.process.send_signal(signal.SIGTERM)
            wait_for_refusal(program)
        for thread in threads:
            thread.join()
        assert answers == ["rested"] * 4
        assert program.process.wait(PATIENCE_S) == 0


def test_what_no_worker_can_overcome_ends_all_of_them(place: Place) -> None:
    uri = place.uri.replace(LOGIN, "nobody_of_this_name")
    with place.serving("--workers", "2", wait=False, db_uri=uri) as program:
        assert program.process.wait(PATIENCE_S) == 7
