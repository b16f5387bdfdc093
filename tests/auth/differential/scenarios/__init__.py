"""The scenarios by topic; each module's are registered when it is imported."""

from tests.auth.differential.scenarios import (
    admin_users,
    changing,
    factors,
    hooks,
    limits,
    links,
    oauth_server,
    providers,
    sessions,
    signup,
    switched_off,
    tokens,
    wire,
)
from tests.auth.differential.scenarios.registry import SCENARIOS, Scenario

__all__ = [
    "SCENARIOS",
    "Scenario",
    "admin_users",
    "changing",
    "factors",
    "hooks",
    "limits",
    "links",
    "oauth_server",
    "providers",
    "sessions",
    "signup",
    "switched_off",
    "tokens",
    "wire",
]
