"""What this process has used."""

from __future__ import annotations

import resource
from pathlib import Path

__all__ = ["cpu_s", "forget_peak", "memory_mb"]


def memory_mb(kind: str = "VmRSS") -> float:
    """Memory of this process, in MB: now (``VmRSS``) or at most so far (``VmHWM``)."""
    return int(Path("/proc/self/status").read_text().partition(f"{kind}:")[2].split()[0]) / 1024


def forget_peak() -> None:
    """Let ``VmHWM`` begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def cpu_s() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
