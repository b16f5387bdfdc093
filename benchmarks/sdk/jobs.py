"""What a driver is told."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Job"]


@dataclass(slots=True, frozen=True)
class Job:
    """One measurement. ``client``: the package's name. ``callers``: threads, tasks or channels at a time. ``token``: one to
    be verified. ``file``: one to be sent.
    """

    client: str
    operation: str
    url: str = ""
    key: str = ""
    form: str = "sync"
    callers: int = 1
    seconds: float = 2.0
    size_mib: int = 1024
    token: str = ""
    file: str = ""
