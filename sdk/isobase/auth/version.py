"""The version of the auth client: that of the whole distribution."""

from __future__ import annotations

from isobase.version import __version__

__all__ = ["__version__"]
