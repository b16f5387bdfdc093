"""The URLs and keys of a stack, by the names that ``supabase status`` gives them."""

from __future__ import annotations

from urllib.parse import quote

from isobase_platform.config import Settings

__all__ = ["addresses", "database_url"]


def database_url(settings: Settings) -> str:
    """What users connect to: role ``postgres`` on the embedded server, else the URL that was given."""
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    password = quote(settings.role_password("postgres"), safe="")
    return f"postgresql://postgres:{password}@127.0.0.1:{settings.database.port}/postgres"


def addresses(settings: Settings) -> dict[str, str]:
    """Name -> value, in upstream's order of groups.

    ``STUDIO_URL`` is where this will be; nothing listens there yet, and scripts ask for the name. ``INBUCKET_URL`` is the
    older name of ``MAILPIT_URL``. Source: supabase/cli ``internal/status``.
    """
    base = settings.base_url
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  compared, not bound
    return {
        "API_URL": base,
        "REST_URL": f"{base}/rest/v1",
        "STORAGE_S3_URL": f"{base}/storage/v1/s3",
        "DB_URL": database_url(settings),
        "STUDIO_URL": f"http://{host}:{settings.studio_port}",
        "MAILPIT_URL": settings.mailbox_url,
        "INBUCKET_URL": settings.mailbox_url,
        "JWT_SECRET": settings.jwt_secret.get_secret_value(),
        "ANON_KEY": settings.anon_token,
        "SERVICE_ROLE_KEY": settings.service_role_token,
        "PUBLISHABLE_KEY": settings.publishable_key.get_secret_value(),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "S3_PROTOCOL_ACCESS_KEY_ID": settings.storage.s3_access_key_id,
        "S3_PROTOCOL_ACCESS_KEY_SECRET": settings.storage.s3_secret_access_key.get_secret_value(),
        "S3_PROTOCOL_REGION": settings.storage.s3_protocol.region,
    }
