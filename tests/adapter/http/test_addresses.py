"""Which keys become Isobase's."""

from __future__ import annotations

import pytest

from isobase_adapter.http.addresses import Addresses
from isobase_adapter.settings import MigrationSettings
from isobase_platform.tokens import role_token

SERVICE = role_token(
    "a secret that is the project's own", "service_role", issuer="supabase", expires_at_s=2_000_000_000
)
FORGED = role_token(
    "a secret that somebody made up here", "service_role", issuer="supabase", expires_at_s=2_000_000_000
)


@pytest.mark.parametrize(
    ("given", "known", "sent"),
    [
        (SERVICE, SERVICE, "theirs"),
        (SERVICE, None, "theirs"),
        (FORGED, SERVICE, FORGED),
        ("sb_secret_another", SERVICE, "theirs"),
        ("sb_publishable_key", SERVICE, "public"),
    ],
)
def test_a_key_that_only_says_that_it_is_the_projects_does_not_become_isobases(
    given: str, known: str | None, sent: str
) -> None:
    settings = MigrationSettings(
        isobase_url="http://127.0.0.1:9",
        isobase_key="public",
        supabase_service_role_key=known,
        isobase_service_role_key="theirs",
    )
    assert Addresses("http://127.0.0.1:8", given, settings).isobase_key(given) == sent
