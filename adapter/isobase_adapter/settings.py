"""What a migration client is told: the two sides' URLs, keys and databases, time limits, rules.

``MigrationSettings`` is one frozen value; ``from_environment`` reads it from the environment. No secret is in its
``repr``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from isobase_adapter.sides import Side

__all__ = [
    "BreakerSettings",
    "MigrationSettings",
    "RpcKind",
    "RpcRule",
    "SettingsError",
    "check_db_url",
    "rpc_rule_of",
    "rpc_rules_of",
]


class SettingsError(ValueError):
    """A setting is missing or makes no sense; the text names it."""


def check_db_url(name: str, url: str) -> None:
    """Raise ``SettingsError`` for what is no PostgreSQL URL, above all where a password's signs cut it in pieces.

    The drivers' own errors would quote a piece of the password.
    """
    scheme, separator, rest = url.partition("://")
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    ports = [re.sub(r"^\[[^]]*\]", "", host).partition(":")[2] for host in place.rpartition("@")[2].split(",")]
    if scheme in ("postgres", "postgresql") and separator and all(re.fullmatch("[0-9]*", port) for port in ports):
        return
    raise SettingsError(
        f"{name} is no URL of PostgreSQL; signs like # / ? of its password are written as %23 %2F %3F, @ as %40"
    )


class RpcKind(StrEnum):
    """What a function of the database does, as far as the move is concerned."""

    READ = "read"
    """It changes nothing: it goes as reads go."""
    SYNC = "sync"
    """It is called on the first side; what it changes is carried by the running ``isobase migrate sync``."""
    TABLES = "tables"
    """It is called on the first side; then whatever differs in ``tables`` is carried."""
    BOTH = "both"
    """It may be called on both sides, one after the other; what it changes is the same each time."""
    FIRST_ONLY = "first_only"
    """It is called on the first side, and nothing of it is carried."""


@dataclass(slots=True, frozen=True)
class RpcRule:
    """How a function's calls are treated where both sides are written. ``tables``: for ``RpcKind.TABLES``."""

    kind: RpcKind
    tables: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class BreakerSettings:
    """When a side counts as down for a capability's reads or writes, and when it is tried again."""

    window_s: float = 30.0
    """Seconds of calls that are looked at."""
    least_calls: int = 5
    """Fewer calls than these in the window never open the breaker."""
    failure_rate: float = 0.5
    """The share of failed calls (0 to 1) at which it opens."""
    slow_call_s: float = 5.0
    """An answer that took longer counts as slow."""
    slow_rate: float = 0.8
    """The share of slow calls (0 to 1) at which it opens."""
    open_s: float = 10.0
    """Seconds until a first call is let through again; doubled after each that fails, up to ``longest_open_s``."""
    longest_open_s: float = 120.0
    trial_calls: int = 3
    """So many calls in a row have to succeed before it closes."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not (0 < self.failure_rate <= 1 and 0 < self.slow_rate <= 1):
            raise SettingsError("failure_rate and slow_rate are shares between 0 and 1")
        if self.least_calls < 1 or self.trial_calls < 1 or min(self.window_s, self.open_s, self.slow_call_s) <= 0:
            raise SettingsError("a breaker's numbers have to be above 0")


@dataclass(slots=True, frozen=True, kw_only=True)
class MigrationSettings:
    """Everything beside Supabase's own URL and key, which the app gives as it always did."""

    isobase_url: str
    """The Isobase project's URL (``ISOBASE_URL``)."""
    isobase_key: str = field(repr=False)
    """Its publishable (anon) key (``ISOBASE_KEY``); where the app's own key is Supabase's service-role key, Isobase's
    service-role key is sent instead.
    """
    supabase_service_role_key: str | None = field(default=None, repr=False)
    isobase_service_role_key: str | None = field(default=None, repr=False)
    supabase_db_url: str | None = field(default=None, repr=False)
    isobase_db_url: str | None = field(default=None, repr=False)
    flags_file: Path | None = None
    """A file of flags instead of the control store (``ISOBASE_MIGRATION_FLAGS_FILE``)."""
    control_file: Path | None = None
    """Flags and outbox of one host in this SQLite file, instead of Isobase's database
    (``ISOBASE_MIGRATION_CONTROL_FILE``); every process of the app and the operator's commands use the same one.
    """
    flag_provider: Any = field(default=None, repr=False)
    """An OpenFeature provider (or client) that holds the flags instead, see docs/migration/flags.md."""
    anonymous: str = "anonymous"
    """Stands for who is not signed in, where a flag holds for a share of users."""
    name: str = ""
    """What operators see as this client's name (``ISOBASE_MIGRATION_NAME``); the host's where it is empty."""
    spool_dir: Path | None = None
    """Where intents are kept while the outbox cannot be reached (``ISOBASE_MIGRATION_SPOOL_DIR``)."""
    start_timeout_s: float = 10.0
    """How long a new client waits for its flags."""
    second_write_timeout_s: float = 10.0
    """How long a caller waits for the second side; then it is carried in the background."""
    inline_upload_max_bytes: int = 1024 * 1024
    """Uploads up to this size are waited for at the second side; larger ones are carried in the background at once."""
    handover_timeout_s: float = 45.0
    """How long a write waits while another side becomes the writer. A coordinator that was stopped in the middle is
    waited for 40 s (``handover_desk.OVERDUE_S``).
    """
    fallback_timeout_s: float = 5.0
    """The most seconds that each step of a read at Isobase may take in stage ``live`` before Supabase is asked."""
    is_shared: bool = True
    """Whether this client shares connections, flags, breakers and figures with the clients of its process that are made with
    equal settings, URL and key.
    """
    recovers: bool = True
    """Whether the writer is handed back to Isobase without an operator once it is well again after a failover
    (``ISOBASE_MIGRATION_RECOVERY``: ``on`` or ``off``).
    """
    breaker: BreakerSettings = BreakerSettings()
    """When reads, and writes, count as failing at Isobase in stage ``live``; each kind is judged by itself."""
    write_breaker: BreakerSettings | None = None
    """For writes, where it is to be another than ``breaker``: an open one moves the writer, for everybody."""
    rpc: Mapping[str, RpcRule] = field(default_factory=dict)
    """Rules by ``schema.function`` (or a pattern with ``*`` at its end)."""

    def __post_init__(self) -> None:
        """Take folders and files as text, too; refuse what makes no sense."""
        for name in ("flags_file", "control_file", "spool_dir"):
            if (place := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(place))
        if not self.isobase_url.startswith(("http://", "https://")):
            raise SettingsError("ISOBASE_URL must be the http(s) URL of the Isobase project")
        if not self.isobase_key:
            raise SettingsError("ISOBASE_KEY must be the API key of the Isobase project")
        for side in Side:
            if url := self.db_url(side):
                check_db_url(f"{side.upper()}_DB_URL", url)
        if self.supabase_db_url is not None and self.supabase_db_url == self.isobase_db_url:
            raise SettingsError("SUPABASE_DB_URL and ISOBASE_DB_URL are the same: the two sides have a database each")
        limits = (self.start_timeout_s, self.second_write_timeout_s, self.handover_timeout_s, self.fallback_timeout_s)
        if min(limits) <= 0:
            raise SettingsError("time limits must be above 0")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **given: Any) -> Self:
        """Read the settings from environment variables; ``given`` values win.

        Raises ``SettingsError`` where one is missing or wrong.
        """
        source = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for name, variable, convert in VARIABLES:
            if name not in given and (text := source.get(variable)):
                try:
                    values[name] = convert(text)
                except ValueError as error:
                    raise SettingsError(f"{variable}: {error}") from None
        values.update(given)
        for name, variable in (("isobase_url", "ISOBASE_URL"), ("isobase_key", "ISOBASE_KEY")):
            if not values.get(name):
                raise SettingsError(f"{variable} is not set: a migration client needs the Isobase side's URL and key")
        return cls(**values)

    def db_url(self, side: Side) -> str | None:
        """The database URL of a side, or None."""
        return self.supabase_db_url if side is Side.SUPABASE else self.isobase_db_url


def rpc_rule_of(text: str) -> RpcRule:
    """Read ``read`` or ``tables:orders|payments`` as a rule. Raises ``ValueError``."""
    kind, _, tables = text.strip().partition(":")
    named = tuple(_qualified(table.strip()) for table in tables.split("|") if table.strip())
    if kind not in set(RpcKind) or (kind == RpcKind.TABLES) != bool(named):
        raise ValueError(f"{text!r} is not read, sync, tables:a|b, both or first_only")
    return RpcRule(RpcKind(kind), named)


def rpc_rules_of(text: str) -> dict[str, RpcRule]:
    """Read ``public.total=read,pay=tables:orders|payments`` as rules by qualified name."""
    rules: dict[str, RpcRule] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, rule = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} is not name=rule")
        rules[_qualified(name.strip())] = rpc_rule_of(rule)
    return rules


def on_or_off(text: str) -> bool:
    """Read ``on`` or ``off``. Raises ``ValueError``."""
    if text.strip().lower() not in ("on", "off"):
        raise ValueError(f"{text!r} is not on or off")
    return text.strip().lower() == "on"


def _qualified(name: str) -> str:
    return name if "." in name or name == "*" else f"public.{name}"


VARIABLES = (
    ("isobase_url", "ISOBASE_URL", str),
    ("isobase_key", "ISOBASE_KEY", str),
    ("supabase_service_role_key", "SUPABASE_SERVICE_ROLE_KEY", str),
    ("isobase_service_role_key", "ISOBASE_SERVICE_ROLE_KEY", str),
    ("supabase_db_url", "SUPABASE_DB_URL", str),
    ("isobase_db_url", "ISOBASE_DB_URL", str),
    ("flags_file", "ISOBASE_MIGRATION_FLAGS_FILE", Path),
    ("control_file", "ISOBASE_MIGRATION_CONTROL_FILE", Path),
    ("name", "ISOBASE_MIGRATION_NAME", str),
    ("spool_dir", "ISOBASE_MIGRATION_SPOOL_DIR", Path),
    ("start_timeout_s", "ISOBASE_MIGRATION_START_TIMEOUT_S", float),
    ("second_write_timeout_s", "ISOBASE_MIGRATION_SECOND_WRITE_TIMEOUT_S", float),
    ("inline_upload_max_bytes", "ISOBASE_MIGRATION_INLINE_UPLOAD_MAX_BYTES", int),
    ("handover_timeout_s", "ISOBASE_MIGRATION_HANDOVER_TIMEOUT_S", float),
    ("fallback_timeout_s", "ISOBASE_MIGRATION_FALLBACK_TIMEOUT_S", float),
    ("recovers", "ISOBASE_MIGRATION_RECOVERY", on_or_off),
    ("rpc", "ISOBASE_MIGRATION_RPC", rpc_rules_of),
)
"""Field, variable and reader of each setting that the environment may hold."""
