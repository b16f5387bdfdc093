"""The version that the data client tells the server: the one of the package."""

from __future__ import annotations

from isobase.version import __version__

__all__ = ["__version__"]
