"""The real supabase/storage, where one runs: ``STORAGE_UPSTREAM_URL`` is its address (with a slash at the end) and
``STORAGE_UPSTREAM_KEY`` a token of service_role.

``make test-sdk-storage-upstream`` sets them; ``make test`` leaves these tests out.
"""

from __future__ import annotations

import os

import pytest

URL, KEY = os.environ.get("STORAGE_UPSTREAM_URL", ""), os.environ.get("STORAGE_UPSTREAM_KEY", "")

if not URL:
    collect_ignore_glob = ["_async/test_*.py", "_sync/test_*.py"]


@pytest.fixture(scope="session")
def upstream_url() -> str:
    """The server's address."""
    return URL


@pytest.fixture(scope="session")
def service() -> dict[str, str]:
    """The headers of service_role."""
    return {"apiKey": KEY, "Authorization": f"Bearer {KEY}"}
