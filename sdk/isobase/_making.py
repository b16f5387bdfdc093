"""The lock under which a client's parts are made, so that threads that share a client get the same ones.

One lock for all clients: a part is made in microseconds, once. It is held over a fork, so that no process begins its life
waiting for a thread that it does not have.
"""

from __future__ import annotations

import os
import threading

__all__ = ["MAKING"]

MAKING = threading.RLock()
"""Reentrant: making one part may need another."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=MAKING.acquire, after_in_parent=MAKING.release, after_in_child=MAKING.release)
