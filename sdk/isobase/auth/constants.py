"""Values that the auth client and the auth server agree on.

Source: ``supabase_auth.constants``; the names and the values are those of the package whose place this one takes.
"""

from __future__ import annotations

from datetime import datetime

GOTRUE_URL = "http://localhost:9999"
"""Where an auth server is looked for when no address is given."""
EXPIRY_MARGIN = 10
"""How long before its end an access token counts as spent, in seconds."""
MAX_RETRIES = 10
"""How often a refresh that the network lost is tried again."""
STORAGE_KEY = "supabase.auth.token"
"""Under which key a session is stored when no other is given."""

API_VERSION_HEADER_NAME = "X-Supabase-Api-Version"
API_VERSIONS_2024_01_01_NAME = "2024-01-01"
"""The version this client asks for: errors carry their code as a text in ``code``."""
API_VERSIONS_2024_01_01_TIMESTAMP = datetime(2024, 1, 1).timestamp()  # noqa: DTZ001 - compared with dates without a zone
BASE64URL_REGEX = r"^([a-z0-9_-]{4})*($|[a-z0-9_-]{3}$|[a-z0-9_-]{2}$)$"
