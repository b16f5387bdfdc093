"""The version that the functions client tells servers: the package's."""

from __future__ import annotations

from isobase.version import __version__

__all__ = ["__version__"]
