"""Work that threads share."""

from __future__ import annotations

import threading
import time

import pytest

from isobase._http import call_options, current_options
from isobase.auth.concurrency import SyncSingleFlight


def test_who_does_the_work_of_a_thread_that_gave_up_has_only_the_rest_of_its_time() -> None:
    flights: SyncSingleFlight[float] = SyncSingleFlight()
    begun, may_fail = threading.Event(), threading.Event()

    def give_up() -> float:
        begun.set()
        may_fail.wait()
        raise TimeoutError

    def lead() -> None:
        with call_options(timeout=0.1), pytest.raises(TimeoutError):
            flights.run("key", give_up)

    def left() -> float:
        timeout = current_options().timeout
        assert timeout is not None
        return timeout

    leader = threading.Thread(target=lead)
    leader.start()
    begun.wait()
    threading.Timer(0.3, may_fail.set).start()
    began = time.monotonic()
    with call_options(timeout=60.0):
        assert flights.run("key", left) <= 60.0 - 0.2
    assert time.monotonic() - began < 50
    leader.join()
