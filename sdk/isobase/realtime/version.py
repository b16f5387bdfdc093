"""The version of the realtime client: that of the distribution, and of the upstream release whose face it has."""

from __future__ import annotations

from isobase.version import __version__

__all__ = ["UPSTREAM_VERSION", "__version__"]

UPSTREAM_VERSION = "2.34.1"
"""The release of realtime-py whose names, arguments and defaults these modules have."""
