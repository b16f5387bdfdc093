"""How many files the process may have open: each socket is one, and systems allow 1,024 unless a program asks for more."""

from __future__ import annotations

import resource

__all__ = ["allow_open_files"]


def allow_open_files() -> int:
    """Raise the soft limit of open files to the hard one; returns what is allowed now. Never raises."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft  # macOS names a hard limit that its kernel does not grant
    return hard
