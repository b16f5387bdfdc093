"""The real supabase/storage, where one runs.

``STORAGE_UPSTREAM_URL`` is its address (with a slash at the end), ``STORAGE_UPSTREAM_KEY`` a token of service_role, and
``STORAGE_CATALOG_URL`` the Iceberg REST catalog that it uses, for what the catalog can and supabase/storage has no route for.
scripts/test-sdk-storage-upstream sets the first two; ``make test`` leaves these tests out.
"""

from __future__ import annotations

import os

import pytest

CATALOG_URL = os.environ.get("STORAGE_CATALOG_URL", "")
URL, KEY = os.environ.get("STORAGE_UPSTREAM_URL", ""), os.environ.get("STORAGE_UPSTREAM_KEY", "")

if not URL:
    collect_ignore_glob = ["_async/test_*.py", "_sync/test_*.py"]


@pytest.fixture(scope="session")
def upstream_url() -> str:
    """The server's address."""
    return URL


@pytest.fixture(scope="session")
def catalog_url() -> str:
    """The Iceberg REST catalog behind it."""
    if not CATALOG_URL:
        pytest.skip("STORAGE_CATALOG_URL names no Iceberg REST catalog")
    return CATALOG_URL


@pytest.fixture(scope="session")
def service() -> dict[str, str]:
    """The headers of service_role."""
    return {"apiKey": KEY, "Authorization": f"Bearer {KEY}"}
