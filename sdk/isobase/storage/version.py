"""The version that the storage client tells servers; the distribution has one version for all its parts."""

from isobase.version import __version__ as __version__

__all__ = ["__version__"]
