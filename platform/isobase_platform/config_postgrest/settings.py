"""PostgREST's options as Isobase's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from isobase_platform.config import Settings
from isobase_platform.config_postgrest.options import BY_NAME, IN_DATABASE, Value
from isobase_platform.config_postgrest.sources import Options, read_text
from isobase_platform.config_rest import RestSettings
from isobase_platform.errors import ConfigurationError

__all__ = ["over_rest_settings", "to_rest_settings", "to_settings"]

_Model = TypeVar("_Model", bound=BaseModel)

_LOG_LEVELS = {"crit": "critical", "warn": "warning"}
_HOSTS = {"!4": "0.0.0.0", "*4": "0.0.0.0", "*": "::", "*6": "::", "!6": "::"}  # noqa: S104  upstream's names for all


def to_settings(options: Options, base: Settings, database_url: str) -> Settings:
    """``base`` with everything that PostgREST's options say; ``database_url`` is ``db-uri``, completed.

    Raises ``ConfigurationError`` for a value that no server can work with.
    """
    # The project's own keys, whose defaults production refuses, open nothing here.
    plain: dict[str, Any] = {"env": "local"}
    database: dict[str, Any] = {"url": database_url, "logs_in_as_url_user": True}
    for name, option in BY_NAME.items():
        group, _, field = option.target.rpartition(".")
        if group == "":
            plain[field] = _setting(name, options.values[name])
        elif group == "database" and name != "db-uri":
            database[field] = _setting(name, options.values[name])
    values = base.model_dump() | plain
    values["database"] = base.database.model_dump() | database
    values["rest"] = to_rest_settings(options, base.rest)
    return _validated(Settings, values)


def to_rest_settings(options: Options, base: RestSettings) -> RestSettings:
    """The data API's own part of ``to_settings``."""
    values: dict[str, Any] = {
        option.target.removeprefix("rest."): _setting(name, options.values[name])
        for name, option in BY_NAME.items()
        if option.target.startswith("rest.")
    }
    return _validated(RestSettings, base.model_dump() | values | {"app_settings": options.app_settings})


def over_rest_settings(base: RestSettings, in_database: Mapping[str, str]) -> RestSettings:
    """``base`` with the settings that the database holds, by names such as ``db_schemas``; unknown names count for nothing.

    Raises ``ConfigurationError`` for a value that upstream would refuse.
    """
    values: dict[str, Any] = {}
    for name, text in in_database.items():
        option = IN_DATABASE.get(name)
        value = None if option is None else read_text(option, text)
        if option is not None and value is not None and option.target.startswith("rest."):
            values[option.target.removeprefix("rest.")] = _setting(option.name, value)
    return _validated(RestSettings, base.model_dump() | values) if values else base


def _setting(name: str, value: Value) -> Value:
    """An option's value as the setting's."""
    match name:
        case "db-anon-role":
            return value or ""
        case "db-prepared-statements":
            return "direct" if value else "transaction_pooler"
        case "log-level":
            return _LOG_LEVELS.get(str(value), value)
        case "server-host" | "admin-server-host":
            return _HOSTS.get(str(value), value)
        case _:
            return value


def _validated(model: type[_Model], values: dict[str, Any]) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise ConfigurationError("Error in config " + "; ".join(lines)) from error
