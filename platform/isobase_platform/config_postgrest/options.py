"""The table of PostgREST's options: names, kinds, defaults, and which of Isobase's settings each one is.

Source: PostgREST v14 docs, references/configuration, and ``Config.hs`` for kinds, aliases and defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

__all__ = ["ALL", "APP_SETTINGS", "BY_NAME", "IN_DATABASE", "Kind", "Option", "Value"]

Value: TypeAlias = bool | int | str | tuple[str, ...] | None

APP_SETTINGS = "app.settings."
"""Names that begin so are settings for every transaction."""


class Kind(Enum):
    """How a text becomes a value; what cannot be read as a flag or number counts as not given, as upstream."""

    TEXT = "text"
    """Empty means not given."""
    LIST = "list"
    """Texts between commas; empty means not given."""
    LIST_OR_NONE = "list or none"
    """As LIST, but empty means an empty list."""
    FLAG = "flag"
    NUMBER = "number"


@dataclass(slots=True, frozen=True)
class Option:
    """One option. ``alias`` is a former name of it, ``target`` the path of the setting, as in ``Settings``."""

    name: str
    kind: Kind
    default: Value
    target: str
    alias: str | None = None
    is_in_database: bool = False
    choices: tuple[str, ...] = ()
    """The texts that are allowed, where only some are."""
    refusal: str = ""
    """Upstream's words for a text that is not among them."""

    @property
    def variable(self) -> str:
        """The environment variable's name."""
        return variable_name(self.name)


def variable_name(name: str) -> str:
    """The environment variable of an option or of its former name."""
    return "PGRST_" + name.upper().replace("-", "_")


_TX_ENDS = ("commit", "commit-allow-override", "rollback", "rollback-allow-override")
_HOISTED = ("statement_timeout", "plan_filter.statement_cost_limit", "default_transaction_isolation")

ALL: tuple[Option, ...] = (
    Option("db-aggregates-enabled", Kind.FLAG, False, "rest.aggregates_enabled", is_in_database=True),
    Option("db-anon-role", Kind.TEXT, None, "rest.anon_role", is_in_database=True),
    Option("db-channel", Kind.TEXT, "pgrst", "rest.channel"),
    Option("db-channel-enabled", Kind.FLAG, True, "rest.channel_enabled"),
    Option("db-extra-search-path", Kind.LIST_OR_NONE, ("public",), "rest.extra_search_path", is_in_database=True),
    Option("db-hoisted-tx-settings", Kind.LIST, _HOISTED, "rest.hoisted_tx_settings", is_in_database=True),
    Option("db-max-rows", Kind.NUMBER, None, "rest.max_rows", alias="max-rows", is_in_database=True),
    Option("db-plan-enabled", Kind.FLAG, False, "rest.plan_enabled", is_in_database=True),
    Option("db-pool", Kind.NUMBER, 10, "database.pool_max_size"),
    Option("db-pool-acquisition-timeout", Kind.NUMBER, 10, "database.acquire_timeout_s"),
    Option("db-pool-max-lifetime", Kind.NUMBER, 1800, "database.pool_max_life_s"),
    Option("db-pool-max-idletime", Kind.NUMBER, 30, "database.pool_max_idle_s", alias="db-pool-timeout"),
    Option("db-pool-automatic-recovery", Kind.FLAG, True, "rest.automatic_recovery"),
    Option("db-pre-request", Kind.TEXT, None, "rest.pre_request", alias="pre-request", is_in_database=True),
    Option("db-prepared-statements", Kind.FLAG, True, "database.mode"),
    Option("db-root-spec", Kind.TEXT, None, "rest.root_spec", alias="root-spec", is_in_database=True),
    Option("db-schemas", Kind.LIST, ("public",), "rest.schemas", alias="db-schema", is_in_database=True),
    Option("db-config", Kind.FLAG, True, "rest.config_in_database"),
    Option("db-pre-config", Kind.TEXT, None, "rest.pre_config", is_in_database=True),
    Option(
        "db-tx-end",
        Kind.TEXT,
        "commit",
        "rest.tx_end",
        is_in_database=True,
        choices=_TX_ENDS,
        refusal="Invalid transaction termination. Check your configuration.",
    ),
    Option("db-uri", Kind.TEXT, "postgresql://", "database.url"),
    Option("jwt-aud", Kind.TEXT, None, "rest.jwt_aud", is_in_database=True),
    Option(
        "jwt-role-claim-key",
        Kind.TEXT,
        '."role"',
        "rest.jwt_role_claim_key",
        alias="role-claim-key",
        is_in_database=True,
    ),
    Option("jwt-secret", Kind.TEXT, None, "rest.jwt_secret", is_in_database=True),
    Option(
        "jwt-secret-is-base64",
        Kind.FLAG,
        False,
        "rest.jwt_secret_is_base64",
        alias="secret-is-base64",
        is_in_database=True,
    ),
    Option("jwt-cache-max-entries", Kind.NUMBER, 1000, "rest.jwt_cache_max_entries"),
    Option(
        "log-level",
        Kind.TEXT,
        "error",
        "log_level",
        choices=("crit", "error", "warn", "info", "debug"),
        refusal="Invalid logging level. Check your configuration.",
    ),
    Option("log-query", Kind.FLAG, False, "rest.log_query"),
    Option(
        "openapi-mode",
        Kind.TEXT,
        "follow-privileges",
        "rest.openapi_mode",
        is_in_database=True,
        choices=("follow-privileges", "ignore-privileges", "disabled"),
        refusal="Invalid openapi-mode. Check your configuration.",
    ),
    Option("openapi-security-active", Kind.FLAG, False, "rest.openapi_security_active", is_in_database=True),
    Option("openapi-server-proxy-uri", Kind.TEXT, None, "rest.openapi_server_proxy_uri", is_in_database=True),
    Option("server-cors-allowed-origins", Kind.LIST, None, "rest.cors_allowed_origins", is_in_database=True),
    Option("server-host", Kind.TEXT, "!4", "host"),
    Option("server-port", Kind.NUMBER, 3000, "port"),
    Option("server-trace-header", Kind.TEXT, None, "rest.trace_header", is_in_database=True),
    Option("server-timing-enabled", Kind.FLAG, False, "rest.server_timing_enabled", is_in_database=True),
    Option("server-unix-socket", Kind.TEXT, None, "unix_socket"),
    Option("server-unix-socket-mode", Kind.TEXT, "660", "unix_socket_mode"),
    Option("admin-server-host", Kind.TEXT, None, "admin_host", alias="server-host"),
    Option("admin-server-port", Kind.NUMBER, None, "admin_port"),
)
"""In the order in which a dump shows them."""

BY_NAME = {option.name: option for option in ALL}
IN_DATABASE = {option.name.replace("-", "_"): option for option in ALL if option.is_in_database}
"""The options that the database may hold, by the name behind ``pgrst.``."""
