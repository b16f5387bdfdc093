"""GoTrue's variables as Isobase's settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from isobase_platform.config import Settings
from isobase_platform.config_gotrue.sources import PREFIX, Values, read
from isobase_platform.errors import ConfigurationError

__all__ = ["GotrueConfiguration", "is_gotrue_environment", "read_gotrue_environment"]

EVERYWHERE = ("0.0.0.0/0", "::/0")
PRIVATE_NETWORKS = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "unix")
"""RFC 1918, RFC 4193 and this machine."""

_LOG_LEVELS = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "fatal": "critical",
    "panic": "critical",
}


@dataclass(slots=True, frozen=True)
class GotrueConfiguration:
    """What an environment asks for: settings to serve with, and what to tell about names without a meaning."""

    settings: Settings = field(repr=False)
    warnings: tuple[str, ...]


def is_gotrue_environment(environment: Mapping[str, str]) -> bool:
    """Whether any of GoTrue's own variables is set."""
    return any(name.startswith(PREFIX) for name in environment)


def read_gotrue_environment(environment: Mapping[str, str], base: Settings) -> GotrueConfiguration:
    """``base`` with everything that ``environment`` says, and upstream's defaults for what it does not.

    ``base`` has what upstream has no name for (bcrypt's cost, Redis). Raises ``ConfigurationError`` with one line per
    variable that is missing or holds what no server can work with.
    """
    values = read(environment)
    return GotrueConfiguration(_to_settings(values, base), values.warnings)


def _to_settings(values: Values, base: Settings) -> Settings:
    # The gateway's own keys, whose defaults production refuses, open nothing here; each connection is the URL's user's.
    changes: dict[str, Any] = {
        "env": "local",
        "require_api_key": False,
        "public_url": None,
        "jwt_keys_file": None,
        "database": {"logs_in_as_url_user": True},
        # Upstream without an SMTP host answers as if mail were sent; and there is no project with a mailbox.
        "auth": {"email": {"discard_without_server": True}},
    }
    for path, value in values.by_path.items():
        _put(changes, path.split("."), value)
    _put_client_addresses(changes, values, base)
    if (keys := values.by_path.get("jwt_keys")) is not None:
        # Upstream believes the algorithms of its keys alone: the secret counts where one of them is a shared secret too.
        changes["jwt_secret_verifies"] = any(key.get("alg") == "HS256" for key in json.loads(str(keys)))
    level = str(changes.get("log_level", "info")).lower()
    if level not in _LOG_LEVELS:
        raise ConfigurationError(f"GOTRUE_LOG_LEVEL must be one of {', '.join(_LOG_LEVELS)}")
    changes["log_level"] = _LOG_LEVELS[level]
    try:
        return Settings.model_validate(_merged(base.model_dump(), changes))
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise ConfigurationError("; ".join(lines)) from error


def _put_client_addresses(changes: dict[str, Any], values: Values, base: Settings) -> None:
    """Count requests per client where a header names it, as upstream does; without one nobody is counted.

    Upstream believes the header from anybody. Here only a proxy is believed: ``base.trusted_proxies``, where there are
    none any on a private network.
    """
    if "forwarded_header" not in values.by_path:
        _put(changes, ["auth", "rate_limit", "unlimited_addresses"], EVERYWHERE)
    elif not base.trusted_proxies:
        changes["trusted_proxies"] = PRIVATE_NETWORKS


def _put(place: dict[str, Any], path: list[str], value: object) -> None:
    for name in path[:-1]:
        place = place.setdefault(name, {})
    below = place.get(path[-1])
    place[path[-1]] = _merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for name, value in high.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged
