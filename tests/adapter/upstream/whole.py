"""Supabase's own servers on one database, behind one gateway that asks for keys as a project's does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from isobase_platform.tokens import role_token
from tests.adapter.upstream.database import PASSWORD, UpstreamDatabase, running_database
from tests.adapter.upstream.places import Places
from tests.auth.differential.servers import BASE
from tests.plugins.ports import free_ports
from tests.sdk.upstream.gateway import running_gateway
from tests.sdk.upstream.servers import DEMO_SECRET, running_program

__all__ = ["UpstreamSupabase", "running_supabase"]

JWT_SECRET = "a-secret-that-both-sides-of-a-move-share-for-as-long-as-it-lasts"
KEYS_END_AT_S = 1_983_812_996
TENANT = "localhost"
"""The tenant of supabase/realtime, which finds it by the first part of the host that is asked."""
SCHEMAS = ("public", "shop", "graphql_public")
REQUEST_TIMEOUT_S = 60.0
AUTH: Mapping[str, str] = {
    "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED": "true",
    "GOTRUE_MAILER_AUTOCONFIRM": "true",
    "GOTRUE_MFA_TOTP_ENROLL_ENABLED": "true",
    "GOTRUE_MFA_TOTP_VERIFY_ENABLED": "true",
    "GOTRUE_RATE_LIMIT_ANONYMOUS_USERS": "100000",
    "GOTRUE_RATE_LIMIT_OTP": "100000",
    "GOTRUE_RATE_LIMIT_TOKEN_REFRESH": "100000",
    "GOTRUE_RATE_LIMIT_VERIFY": "100000",
    "GOTRUE_SECURITY_MANUAL_LINKING_ENABLED": "true",
    "GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED": "true",
    "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL": "10",
}


@dataclass(slots=True, frozen=True)
class UpstreamSupabase:
    """What an app and an operator know of it."""

    url: str
    anon_key: str = field(repr=False)
    service_role_key: str = field(repr=False)
    db_url: str = field(repr=False)
    jwt_secret: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """The variables by which ``tests.adapter.pair`` finds it."""
        return {
            "SUPABASE_TEST_URL": self.url,
            "SUPABASE_TEST_KEY": self.anon_key,
            "SUPABASE_TEST_SERVICE_ROLE_KEY": self.service_role_key,
            "SUPABASE_TEST_DB_URL": self.db_url,
            "SUPABASE_TEST_JWT_SECRET": self.jwt_secret,
        }


@contextmanager
def running_supabase(places: Places, folder: Path) -> Iterator[UpstreamSupabase]:
    """Run all of them until the end of the block; their logs and files are in ``folder``."""
    keys = {
        role: role_token(JWT_SECRET, role, issuer="supabase", expires_at_s=KEYS_END_AT_S)
        for role in ("anon", "service_role")
    }
    auth_port, rest_port, rest_admin_port, storage_port, storage_admin_port, gateway_port = free_ports(6)
    routes = {
        "/auth/v1": f"http://127.0.0.1:{auth_port}",
        "/rest/v1": f"http://127.0.0.1:{rest_port}",
        "/storage/v1": f"http://127.0.0.1:{storage_port}",
    }
    if places.realtime_url is not None:
        realtime = f"http://{TENANT}:{urlsplit(places.realtime_url).port}"
        routes |= {"/realtime/v1/api": f"{realtime}/api", "/realtime/v1": f"{realtime}/socket"}
    with ExitStack() as parts:
        database = parts.enter_context(running_database(places, folder))
        asks_for_key = [prefix for prefix in routes if prefix != "/storage/v1"]
        url = parts.enter_context(
            running_gateway(routes, gateway_port, keys=list(keys.values()), asks_for_key=asks_for_key)
        )
        parts.enter_context(_gotrue(places, database, folder, auth_port, url))
        parts.enter_context(_storage(places, database, folder, (storage_port, storage_admin_port), keys, url))
        if places.realtime_url is not None:
            _make_tenant(places.realtime_url, places.realtime_secret or DEMO_SECRET, database)
        parts.enter_context(_postgrest(places, database, folder, (rest_port, rest_admin_port)))
        yield UpstreamSupabase(url, keys["anon"], keys["service_role"], database.url("postgres"), JWT_SECRET)


def _gotrue(
    places: Places, database: UpstreamDatabase, folder: Path, port: int, url: str
) -> AbstractContextManager[None]:
    environment = {
        **BASE,
        **AUTH,
        "API_EXTERNAL_URL": f"{url}/auth/v1",
        "DATABASE_URL": database.url("supabase_auth_admin"),
        "GOTRUE_JWT_ISSUER": f"{url}/auth/v1",
        "GOTRUE_JWT_SECRET": JWT_SECRET,
        "PORT": str(port),
    }
    return running_program([str(places.gotrue)], environment, f"http://127.0.0.1:{port}/health", folder)


def _storage(
    places: Places, database: UpstreamDatabase, folder: Path, ports: tuple[int, int], keys: Mapping[str, str], url: str
) -> AbstractContextManager[None]:
    environment = {
        "ANON_KEY": keys["anon"],
        "AUTH_JWT_SECRET": JWT_SECRET,
        "DATABASE_URL": database.url("supabase_storage_admin"),
        "DB_INSTALL_ROLES": "false",
        "DB_SUPER_USER": "postgres",
        "IMAGE_TRANSFORMATION_ENABLED": "false",
        "LOG_LEVEL": "error",
        "NODE_ENV": "development",  # in production every address begins with https
        "PG_QUEUE_ENABLE": "false",
        "REQUEST_ALLOW_X_FORWARDED_PATH": "true",
        "SERVER_ADMIN_PORT": str(ports[1]),
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": str(ports[0]),
        "SERVER_REGION": "local",
        "SERVICE_KEY": keys["service_role"],
        "STORAGE_BACKEND": "file",
        "STORAGE_FILE_BACKEND_PATH": str(folder / "objects"),
        "STORAGE_FILE_ETAG_ALGORITHM": "md5",
        "STORAGE_PUBLIC_URL": f"{url}/storage/v1",
        "STORAGE_S3_BUCKET": "stub",
        "STORAGE_S3_REGION": "local",
        "TENANT_ID": "stub",
        "TUS_URL_EXPIRY_MS": "86400000",
        "TUS_URL_PATH": "/upload/resumable",
        "UPLOAD_FILE_SIZE_LIMIT": "52428800",
        "UPLOAD_FILE_SIZE_LIMIT_STANDARD": "52428800",
        "UPLOAD_SIGNED_URL_EXPIRATION_TIME": "7200",
    }
    server = places.storage_checkout / "dist" / "start" / "server.js"
    health_url = f"http://127.0.0.1:{ports[0]}/status"
    return running_program(
        [places.node, str(server)], environment, health_url, folder, working_folder=places.storage_checkout
    )


def _postgrest(
    places: Places, database: UpstreamDatabase, folder: Path, ports: tuple[int, int]
) -> AbstractContextManager[None]:
    environment = {
        "PGRST_ADMIN_SERVER_PORT": str(ports[1]),
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
        "PGRST_DB_MAX_ROWS": "1000",
        "PGRST_DB_SCHEMAS": ",".join(SCHEMAS),
        "PGRST_DB_URI": database.url("authenticator"),
        "PGRST_JWT_SECRET": JWT_SECRET,
        "PGRST_LOG_LEVEL": "error",
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(ports[0]),
    }
    return running_program([str(places.postgrest)], environment, f"http://127.0.0.1:{ports[1]}/ready", folder)


def _make_tenant(realtime_url: str, secret: str, database: UpstreamDatabase) -> None:
    """Have a running supabase/realtime serve this database."""
    settings = {
        "db_host": "127.0.0.1",
        "db_name": "postgres",
        "db_password": PASSWORD,
        "db_port": str(database.port),
        "db_user": "supabase_admin",
        "poll_interval_ms": 100,
        "poll_max_record_bytes": 1_048_576,
        "region": "local",
        "ssl_enforced": False,
    }
    tenant = {
        "extensions": [{"type": "postgres_cdc_rls", "settings": settings}],
        "external_id": TENANT,
        "jwt_secret": JWT_SECRET,
        "max_events_per_second": 10_000,
        "max_joins_per_second": 10_000,
        "name": TENANT,
    }
    headers = {"authorization": f"Bearer {role_token(secret, 'service_role')}"}
    with httpx.Client(base_url=realtime_url, headers=headers, timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
        client.delete(f"/api/tenants/{TENANT}")  # what a run before this one left; its database is gone
        client.put(f"/api/tenants/{TENANT}", json={"tenant": tenant}).raise_for_status()
        client.get(f"/api/tenants/{TENANT}/health").raise_for_status()
