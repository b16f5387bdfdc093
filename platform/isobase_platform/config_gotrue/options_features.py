"""The variables of single features: mail, messages, factors, providers, hooks, limits. See ``options``."""

from __future__ import annotations

from isobase_platform.config_gotrue.options import Option

__all__ = ["FEATURES"]

FEATURES: tuple[Option, ...] = ()
