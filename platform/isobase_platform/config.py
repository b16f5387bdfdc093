"""Every setting of Isobase, with its unit and default, and the order in which sources win.

Flags of the command line win over the environment (``ISOBASE_...``, nested names by ``__``; ``DATABASE_URL`` and
``REDIS_URL`` also bare), which wins over ``supabase/config.toml``, which wins over the defaults here. Defaults equal the
Supabase command line's. ``config_toml`` reads the file; ``docs/settings.md`` lists every name, and a test keeps it so.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from isobase_platform.config_auth import AuthSettings
from isobase_platform.config_group import SettingsGroup
from isobase_platform.config_mailbox import MailboxSettings
from isobase_platform.config_realtime import RealtimeSettings
from isobase_platform.config_rest import RestSettings
from isobase_platform.config_storage import DEFAULT_S3_SECRET_ACCESS_KEY, StorageSettings
from isobase_platform.errors import ConfigurationError
from isobase_platform.networks import Networks
from isobase_platform.tokens import role_token

__all__ = [
    "DEFAULT_JWT_SECRET",
    "DEFAULT_PUBLISHABLE_KEY",
    "DEFAULT_SECRET_KEY",
    "AuthSettings",
    "DatabaseSettings",
    "DynamicSettings",
    "MailboxSettings",
    "RealtimeSettings",
    "RestSettings",
    "Settings",
    "StorageSettings",
    "load_settings",
]

DEFAULT_JWT_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"  # noqa: S105  public demo value, refused in production
DEFAULT_PUBLISHABLE_KEY = "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH"
DEFAULT_SECRET_KEY = "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz"  # noqa: S105  public demo value, refused in production
DEFAULT_ROLE_PASSWORD = "postgres"  # noqa: S105  the local stack's, refused in production

THIS_MACHINE = ("127.0.0.0/8", "::1/128")
LOGIN_ROLES = ("authenticator", "supabase_auth_admin", "supabase_storage_admin", "supabase_admin", "postgres")


class DatabaseSettings(SettingsGroup):
    """Where PostgreSQL is and how it is reached."""

    url: SecretStr | None = None
    """A PostgreSQL >= 15 to use instead of the embedded one; a role that may create roles and schemas."""
    port: int = 54322
    """The embedded PostgreSQL's TCP port on the loopback address."""
    socket_dir: Path | None = None
    """Directory of a unix socket to prefer over TCP (set by the embedded server)."""
    role_password: SecretStr | None = None
    """Password of the roles that the services log in as; default: "postgres" on the embedded server in local mode, else
    derived per role from the JWT secret."""
    logs_in_as_url_user: bool = False
    """Whether every connection logs in as the user of ``url``, as PostgREST's do, and not as the roles of the schema."""
    pool_max_size: int = Field(default=10, ge=1)
    """Connections at most in the pool that serves users' statements."""
    service_pool_max_size: int = Field(default=4, ge=1)
    """Connections at most in each pool that a service uses for itself."""
    acquire_timeout_s: float = Field(default=10.0, gt=0)
    """How long a request waits for a connection before it is answered 503 (PostgREST: 504 PGRST003)."""
    pool_max_idle_s: float = Field(default=60.0, gt=0)
    """How long a connection may lie unused in a pool before it is closed."""
    pool_max_life_s: float = Field(default=1800.0, gt=0)
    """How old a connection that serves users' statements may become before another takes its place."""
    mode: Literal["direct", "transaction_pooler"] = "direct"
    """transaction_pooler: PgBouncer or RDS Proxy stands between; no prepared statements are kept, no LISTEN is used."""
    migrations_enabled: bool = True
    """Whether ``start`` and ``db reset`` apply the project's migrations."""
    seed_enabled: bool = True
    """Whether the very first start and ``db reset`` run the project's seed files."""
    seed_paths: tuple[str, ...] = ("./seed.sql",)
    """Seed files or globs, relative to the supabase folder, in their order."""
    parameters: Mapping[str, str] = Field(default_factory=dict)
    """Parameters for the embedded PostgreSQL by their names in postgresql.conf, over those that Isobase chooses."""


class DynamicSettings(SettingsGroup):
    """Databases made at run time (``/db``): how much one may make."""

    databases_per_owner: int = Field(default=50, ge=0)
    """Databases that one user may make."""
    tables_per_database: int = Field(default=200, ge=0)
    columns_per_table: int = Field(default=100, ge=0, le=1500)
    """Beside created_at, owner and the id that a table has by itself."""
    indexes_per_table: int = Field(default=64, ge=0)
    """Beside those of keys and unique columns."""
    members_per_database: int = Field(default=1000, ge=1)
    rows_per_request: int = Field(default=1000, ge=1)
    """Rows that one request may insert; how many one reads is rest.max_rows."""
    definition_body_bytes: int = Field(default=256 * 1024, ge=1)
    """Largest body of everything but rows, whose limit is rest.max_body_bytes."""


class Settings(BaseSettings):
    """All settings of one Isobase, validated. Build it with ``load_settings``; it is frozen and passed down as a value."""

    model_config = SettingsConfigDict(
        env_prefix="ISOBASE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="ignore",
        nested_model_default_partial_update=True,
        populate_by_name=True,
    )

    env: Literal["local", "production"] = "local"
    project_id: str = "isobase"
    """The project's name, shown by ``/health``; default the name of its folder."""
    data_dir: Path = Path(".isobase")
    host: str = "127.0.0.1"
    port: int = Field(default=54321, ge=0, le=65_535)
    studio_port: int = 54323
    mail_port: int = Field(default=54324, ge=0, le=65_535)
    """Where the local mailbox shows its mail and answers Mailpit's API; 0: any free port, which `isobase status` tells."""
    public_url: str | None = None
    """The URL that users reach the gateway by; default ``http://HOST:PORT``. Links are built from it, never from a header."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks (`10.0.0.0/8`, single addresses, `unix`) of proxies that are believed when they say whose request it is."""
    forwarded_header: str = "x-forwarded-for"
    """The header in which trusted proxies name the client; each appends the address that it saw."""
    redis_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("ISOBASE_REDIS_URL", "REDIS_URL"))
    jwt_secret: SecretStr = SecretStr(DEFAULT_JWT_SECRET)
    jwt_keys_file: Path | None = None
    """A JSON array of JWKs; the one with "sign" in key_ops signs users' tokens."""
    jwt_keys: SecretStr | None = None
    """The same array as text, in the place of a file."""
    jwt_secret_verifies: bool = True
    """Whether tokens signed with ``jwt_secret`` are believed beside those of the JWKs."""
    anon_key: SecretStr | None = None
    service_role_key: SecretStr | None = None
    publishable_key: SecretStr = SecretStr(DEFAULT_PUBLISHABLE_KEY)
    secret_key: SecretStr = SecretStr(DEFAULT_SECRET_KEY)
    require_api_key: bool | None = None
    """Refuse requests without an API key at the gateway; default: in production only, as hosted and local upstream do."""
    max_body_bytes: int = Field(default=1024 * 1024, ge=1)
    """Largest JSON body of a route that names no limit of its own."""
    drain_timeout_s: float = Field(default=8.0, gt=0)
    """How long requests in flight may take to end after SIGTERM."""
    unix_socket: Path | None = None
    """A unix socket to listen on instead of ``port``, for ``isobase serve database`` with PostgREST's settings."""
    unix_socket_mode: str = "660"
    """The socket's mode in octal."""
    admin_host: str | None = None
    """The address of ``isobase serve database``'s admin server (``/live``, ``/ready``, ``/metrics``); default ``host``."""
    admin_port: int | None = Field(default=None, ge=0, le=65_535)
    """The port of the admin server; none: there is no such server."""
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"

    database: DatabaseSettings = DatabaseSettings()
    rest: RestSettings = RestSettings()
    dynamic: DynamicSettings = DynamicSettings()
    auth: AuthSettings = AuthSettings()
    mailbox: MailboxSettings = MailboxSettings()
    storage: StorageSettings = StorageSettings()
    realtime: RealtimeSettings = RealtimeSettings()

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Networks(value)
        return value

    @property
    def is_production(self) -> bool:
        """True where the defaults that everybody knows are refused."""
        return self.env == "production"

    @property
    def base_url(self) -> str:
        """The URL that users reach the gateway by, without a slash at the end."""
        # A server that listens on every address is reached by this machine's own.
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104  compared, not bound
        place = f"[{host}]" if ":" in host else host
        return (self.public_url or f"http://{place}:{self.port}").rstrip("/")

    @property
    def auth_url(self) -> str:
        """The URL of auth: the issuer of tokens and the base of links."""
        return (self.auth.external_url or f"{self.base_url}/auth/v1").rstrip("/")

    @property
    def mailbox_url(self) -> str:
        """The URL of the local mailbox, its page and its API, without a slash at the end."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104  compared, not bound
        place = f"[{host}]" if ":" in host else host
        return (self.mailbox.url or f"http://{place}:{self.mail_port}").rstrip("/")

    @property
    def storage_root(self) -> Path:
        """Directory of the local-disk storage backend."""
        return self.storage.root or self.data_dir / "storage"

    @property
    def image_cache_root(self) -> Path:
        """Directory of rendered images and of the renderer's temporary files."""
        return self.storage.images.cache_root or self.data_dir / "image-cache"

    @property
    def api_key_required(self) -> bool:
        """Whether the gateway refuses requests without an API key."""
        return self.is_production if self.require_api_key is None else self.require_api_key

    @property
    def unlimited_addresses(self) -> tuple[str, ...]:
        """Networks that auth does not limit. In production a caller on this machine may be a proxy that brings everybody."""
        chosen = self.auth.rate_limit.unlimited_addresses
        if chosen is not None:
            return chosen
        return () if self.is_production else THIS_MACHINE

    @property
    def is_embedded(self) -> bool:
        """True where Isobase runs its own PostgreSQL."""
        return self.database.url is None

    @property
    def anon_token(self) -> str:
        """The anon API key: given, or made from the JWT secret."""
        return self.anon_key.get_secret_value() if self.anon_key else self._role_token("anon")

    @property
    def service_role_token(self) -> str:
        """The service_role API key: given, or made from the JWT secret."""
        return self.service_role_key.get_secret_value() if self.service_role_key else self._role_token("service_role")

    def _role_token(self, role: str) -> str:
        issuer = "isobase" if self.is_production else "supabase-demo"
        return role_token(self.jwt_secret.get_secret_value(), role, issuer=issuer)

    def role_password(self, role: str) -> str:
        """The password that ``role`` logs in with; see ``database.role_password``."""
        if self.database.role_password is not None:
            return self.database.role_password.get_secret_value()
        if self.is_embedded and not self.is_production:
            return DEFAULT_ROLE_PASSWORD
        secret = self.jwt_secret.get_secret_value().encode()
        return hmac.new(secret, f"isobase:role-password:{role}".encode(), hashlib.sha256).hexdigest()

    def dsn(self, role: str | None = None) -> str:
        """The connection URL for ``role``, or for the owner of everything when None.

        On the embedded server the owner is ``supabase_admin`` and a unix socket is used where there is one. On an
        external server the owner is who ``database.url`` names; a role keeps its host, port, database and parameters.
        """
        if self.database.url is None:
            user = role or "supabase_admin"
            login = f"{user}:{quote(self.role_password(user), safe='')}"
            if self.database.socket_dir is not None:
                socket = quote(str(self.database.socket_dir), safe="")
                return f"postgresql://{login}@/postgres?host={socket}&port={self.database.port}"
            return f"postgresql://{login}@127.0.0.1:{self.database.port}/postgres"
        url = self.database.url.get_secret_value()
        if role is None or self.database.logs_in_as_url_user:
            return url
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{role}:{quote(self.role_password(role), safe='')}@{place}"))

    def check_production(self) -> None:
        """Raise ``ConfigurationError`` naming every default that must not serve in production; nothing in local mode."""
        if not self.is_production:
            return
        secrets = {
            "jwt_secret": (self.jwt_secret.get_secret_value(), DEFAULT_JWT_SECRET),
            "publishable_key": (self.publishable_key.get_secret_value(), DEFAULT_PUBLISHABLE_KEY),
            "secret_key": (self.secret_key.get_secret_value(), DEFAULT_SECRET_KEY),
            "storage.s3_secret_access_key": (
                self.storage.s3_secret_access_key.get_secret_value(),
                DEFAULT_S3_SECRET_ACCESS_KEY,
            ),
        }
        refused = [name for name, (value, default) in secrets.items() if value == default]
        if refused:
            raise ConfigurationError(
                "these settings still have the defaults that everybody knows, which production refuses: "
                + ", ".join(refused),
                hint="isobase keys generate prints fresh ones",
            )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the environment is a source of its own; flags and config.toml are merged around it by ``load_settings``."""
        return init_settings, env_settings


def load_settings(*, flags: Mapping[str, Any] | None = None, file_values: Mapping[str, Any] | None = None) -> Settings:
    """Build the settings from flags, environment and the values of config.toml, in this order of precedence.

    ``flags`` and ``file_values`` are nested mappings by the names of ``Settings``; None values in ``flags`` mean "not
    given". Raises ``ConfigurationError`` with one line per wrong value, never with the value of a secret.
    """
    import os

    from pydantic import ValidationError

    given: dict[str, Any] = {}
    if url := os.environ.get("DATABASE_URL"):
        given = {"database": {"url": url}}
    try:
        environment = _environment_values()
        merged = _merge(file_values or {}, _merge(given, _merge(environment, flags or {})))
        return _FromMapping(**merged)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise ConfigurationError("; ".join(lines)) from error


class _FromMapping(Settings):
    """``Settings`` whose sources were merged before: the environment is not read a second time."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def _environment_values() -> dict[str, Any]:
    from pydantic_settings import EnvSettingsSource

    return dict(EnvSettingsSource(Settings)())


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """``high`` over ``low``, nested mappings member by member; a None in ``high`` leaves what ``low`` says."""
    merged = dict(low)
    for name, value in high.items():
        if value is None:
            continue
        below = merged.get(name)
        if isinstance(value, Mapping):
            merged[name] = _merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged
