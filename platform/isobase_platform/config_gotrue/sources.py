"""Reads an environment by the tables of names: values by our settings' paths, and one warning per unknown name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isobase_platform.config_gotrue.options import GENERAL, Default, Option
from isobase_platform.config_gotrue.options_features import FEATURES
from isobase_platform.config_gotrue.options_messages import MESSAGES
from isobase_platform.config_gotrue.options_providers import PROVIDERS
from isobase_platform.config_gotrue.without_effect import has_no_effect
from isobase_platform.errors import ConfigurationError

__all__ = ["OPTIONS", "PREFIX", "Values", "read"]

PREFIX = "GOTRUE_"
OPTIONS: tuple[Option, ...] = (*GENERAL, *MESSAGES, *PROVIDERS, *FEATURES)
_KNOWN = frozenset(name for option in OPTIONS for name in (option.name, *option.aliases))


@dataclass(slots=True, frozen=True)
class Values:
    """``by_path``: setting's path -> value, secrets among them. ``warnings``: one line per name that means nothing."""

    by_path: Mapping[str, object] = field(repr=False)
    warnings: tuple[str, ...]


def read(environment: Mapping[str, str]) -> Values:
    """All values. An empty text counts as not given.

    Raises ``ConfigurationError`` with one line per variable that is missing or cannot be read, never with its text.
    """
    values: dict[str, object] = {}
    problems: list[str] = []
    for option in OPTIONS:
        name = next((one for one in (option.name, *option.aliases) if environment.get(one, "").strip()), None)
        if name is None:
            if option.default is Default.REQUIRED:
                problems.append(f"{' or '.join((option.name, *option.aliases))} is not set")
            elif option.default is not Default.OURS:
                values[option.target] = option.default
            continue
        try:
            values[option.target] = option.convert(environment[name])
        except ValueError as error:
            problems.append(f"{name} must be {error}")
    if problems:
        raise ConfigurationError("; ".join(problems))
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and _is_unknown(name))
    return Values(values, tuple(f"{name} is not known and has no effect" for name in unknown))


def _is_unknown(name: str) -> bool:
    return name not in _KNOWN and not has_no_effect(name)
