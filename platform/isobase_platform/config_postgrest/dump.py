"""The options as a configuration file that PostgREST and we read back alike. Source: PostgREST v14 ``--dump-config``."""

from __future__ import annotations

from isobase_platform.config_postgrest.options import ALL, Kind, Option, Value
from isobase_platform.config_postgrest.sources import Options, standard_base64

__all__ = ["dump"]


def dump(options: Options) -> str:
    """All options in the order of the table, then the settings for every transaction. Secrets are shown: it is a file."""
    lines = [f"{option.name} = {_shown(option, options)}" for option in ALL]
    lines += [f"{name} = {_quoted(text)}" for name, text in options.app_settings.items()]
    return "\n".join(lines) + "\n"


def _shown(option: Option, options: Options) -> str:
    value: Value = options.values[option.name]
    if option.name == "jwt-secret" and isinstance(value, str) and options.values["jwt-secret-is-base64"]:
        value = standard_base64(value)
    if option.kind is Kind.FLAG:
        return "true" if value else "false"
    if option.kind is Kind.NUMBER:
        return '""' if value is None else str(value)
    if isinstance(value, tuple):
        return _quoted(",".join(value))
    return _quoted("" if value is None else str(value))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
