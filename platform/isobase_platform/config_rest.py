"""The settings of the data API. Names as PostgREST's configuration, without its ``db-``.

They stand apart from the others because the database itself may hold some of them, and because ``isobase serve database``
takes all of them by PostgREST's own names; ``config_postgrest`` knows both spellings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from isobase_platform.claim_path import parse_claim_path
from isobase_platform.config_group import SettingsGroup

__all__ = ["RestSettings"]


def _checked_claim_path(text: str) -> str:
    parse_claim_path(text)
    return text


class RestSettings(SettingsGroup):
    """The data API (``/rest/v1``); names as PostgREST's configuration."""

    enabled: bool = True
    """Whether the service is served at all."""
    schemas: tuple[str, ...] = ("public", "graphql_public")
    extra_search_path: tuple[str, ...] = ("public", "extensions")
    max_rows: int | None = Field(default=1000, ge=1)
    max_body_bytes: int = Field(default=50 * 1024 * 1024, ge=1)
    pre_request: str | None = None
    """A function, ``schema.name`` or ``name`` on the search path, that is called first in every transaction."""
    anon_role: str = "anon"
    """The database role of requests without a token; empty refuses them (401 PGRST302)."""
    tx_end: Literal["commit", "commit-allow-override", "rollback", "rollback-allow-override"] = "commit"
    """How a request's transaction ends, and whether ``Prefer: tx=...`` may change that."""
    aggregates_enabled: bool = False
    """Whether ``select`` may aggregate (``price.sum()``, ``count()``): a caller could keep the database busy with it."""
    plan_enabled: bool = False
    """Whether ``Accept: application/vnd.pgrst.plan`` shows how PostgreSQL would answer; plans tell about hidden rows."""
    server_timing_enabled: bool = False
    """Whether answers tell in ``Server-Timing`` how long each stage of the request took."""
    auto_expose_new_tables: bool | None = None
    """False: new tables in ``public`` are for anon, authenticated and service_role only after an explicit GRANT."""
    jwt_secret: SecretStr | None = None
    """What verifies the data API's tokens instead of the project's keys: a secret of 32 bytes or more, a JWK or a JWK set."""
    jwt_secret_is_base64: bool = False
    """Whether ``jwt_secret`` is base64 (or base64url) of the secret's bytes."""
    jwt_aud: str | None = None
    """The audience that a token must be for, where it names any."""
    jwt_role_claim_key: Annotated[str, AfterValidator(_checked_claim_path)] = ".role"
    """Where in a token's claims the role stands, as PostgREST writes paths: ``.app_metadata.roles[0]``."""
    jwt_cache_max_entries: int = 1000
    """Verified tokens that are remembered by the data API; 0 verifies every time."""
    app_settings: Mapping[str, str] = Field(default_factory=dict)
    """Settings, such as ``app.settings.host``, that every transaction carries for functions and policies."""
    root_spec: str | None = None
    """A function, ``schema.name`` or ``name`` on the search path, that answers at the root instead of the description."""
    openapi_mode: Literal["follow-privileges", "ignore-privileges", "disabled"] = "follow-privileges"
    """What the description at the root names: what the caller may reach, everything, or (disabled) there is none."""
    openapi_security_active: bool = False
    """Whether the description says that tokens are sent in Authorization."""
    openapi_server_proxy_uri: str | None = None
    """The URL that the description gives for the API, where a proxy stands before it."""
    channel: str = "pgrst"
    """The channel on which NOTIFY asks for a reload."""
    channel_enabled: bool = True
    """Whether anything is listened to at all."""
    config_in_database: bool = True
    """Whether settings that the login role holds (``alter role authenticator set pgrst.db_schemas = ...``) are read."""
    pre_config: str | None = None
    """A function, ``schema.name``, that is called before those are read and may give them with ``set_config``."""
    hoisted_tx_settings: tuple[str, ...] = (
        "statement_timeout",
        "plan_filter.statement_cost_limit",
        "default_transaction_isolation",
    )
    """Settings of functions (``create function ... set name = ...``) that hold for the whole transaction of a call."""
    log_query: bool = False
    """Whether the SQL of each request is logged, with parameters in the place of values."""
    automatic_recovery: bool = True
    """False: ``isobase serve database`` with PostgREST's settings ends when it loses the database; it does not try again."""
    cors_allowed_origins: tuple[str, ...] | None = None
    """Origins that browsers may call from where the data API is served alone with PostgREST's settings; none: all."""
    trace_header: str | None = None
    """A request header that the data API repeats in its answer, such as ``X-Request-Id``."""
    idempotency_key_life_s: int = Field(default=24 * 3600, ge=0)
    """Seconds for which the answer of a write with an ``Idempotency-Key`` is kept; 0: the header means nothing."""
    idempotency_max_answer_bytes: int = Field(default=256 * 1024, ge=0)
    """The largest body that is kept; of a larger one only that the write was done."""
