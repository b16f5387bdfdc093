"""What a data client sends and waits for when nothing else is said. Source: postgrest-py 2.34.1 ``constants.py``."""

from __future__ import annotations

DEFAULT_POSTGREST_CLIENT_HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",
}

DEFAULT_POSTGREST_CLIENT_TIMEOUT = 120  # seconds

SINGLE_ROW = "application/vnd.pgrst.object+json"
ROWS = "application/vnd.pgrst.array+json"
CSV = "text/csv"
GEOJSON = "application/geo+json"
PLAN = "application/vnd.pgrst.plan"
