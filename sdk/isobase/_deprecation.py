"""The warning that sub-clients give for settings which belong to the HTTP client now. Source: supabase-py, word by word,
so that filters of warnings written for it hold.
"""

from __future__ import annotations

from warnings import warn

__all__ = ["warn_of_http_settings"]


def warn_of_http_settings(*, stacklevel: int, **given: object) -> None:
    """Warn of each setting that is not None; ``stacklevel`` as for ``warnings.warn``, counted from the caller."""
    for name, value in given.items():
        if value is not None:
            warn(
                f"The '{name}' parameter is deprecated. Please configure it in the http client instead.",
                DeprecationWarning,
                stacklevel=stacklevel + 1,
            )
