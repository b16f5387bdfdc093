"""The variables that upstream knows and that change nothing here, with the reason; ``docs/serve-auth.md`` lists them.

A name may end in ``*``, which stands for any rest. Source: supabase/auth internal/conf.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

__all__ = ["WITHOUT_EFFECT", "has_no_effect"]

WITHOUT_EFFECT: dict[str, str] = {
    "DB_NAMESPACE": "the schema is auth",
    "GOTRUE_DB_DRIVER": "it is PostgreSQL",
    "GOTRUE_DB_NAMESPACE": "the schema is auth",
    "GOTRUE_DB_MIGRATIONS_PATH": "the schema comes with Isobase",
    "GOTRUE_DB_MAX_IDLE_POOL_SIZE": "idle connections are closed by age",
    "GOTRUE_DB_CONN_PERCENTAGE": "the pool has a fixed size",
    "GOTRUE_DB_HEALTH_CHECK_PERIOD": "a broken connection is noticed when it is used",
    "GOTRUE_DB_ADVISOR_*": "there is no advisor",
    "GOTRUE_API_ENDPOINT": "upstream does not read it either",
    "GOTRUE_COOKIE_*": "tokens travel in headers and bodies, never in cookies",
    "GOTRUE_OPERATOR_TOKEN": "upstream does not read it either",
    "GOTRUE_SESSION_KEY": "upstream does not read it either",
    "GOTRUE_JWT_KEY_ID": "give keys with their kid in GOTRUE_JWT_KEYS",
    "GOTRUE_JWT_ADMIN_GROUP_NAME": "upstream does not read it either",
    "GOTRUE_JWT_VALID_METHODS": "the algorithms are those of the keys",
    "GOTRUE_LOG_*": "the log's form is ISOBASE_LOG_FORMAT",
    "GOTRUE_PROFILER_*": "there is no profiler",
    "GOTRUE_TRACING_*": "traces are configured by OTEL_* variables",
    "GOTRUE_METRICS_*": "metrics are at /metrics, in Prometheus' form",
    "GOTRUE_CORS_ALLOWED_HEADERS": "every header is allowed",
    "GOTRUE_INDEX_WORKER_*": "the indexes come with the schema",
    "GOTRUE_RELOADING_*": "settings are read at start",
    "REQUEST_ID_HEADER": "it is x-request-id",
    "GOTRUE_API_REQUEST_ID_HEADER": "it is x-request-id",
    "GOTRUE_MAILER_URLPATHS_MAGIC_LINK": "magic links lead where those of recovery do",
    "GOTRUE_MAILER_URLPATHS_REAUTHENTICATION": "this mail has no link",
    "GOTRUE_MAILER_URLPATHS_*_NOTIFICATION": "these mails have no link",
    "GOTRUE_API_MAX_REQUEST_DURATION": "it is 10 s",
    "GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS": "an address is proven before it opens an account",
    "GOTRUE_MAILER_EXTERNAL_HOSTS": "links are built from settings, never from a request's header",
    "GOTRUE_MAILER_EMAIL_BACKGROUND_SENDING": "mail of public endpoints is always sent in the background",
    "GOTRUE_MAILER_EMAIL_VALIDATION_*": "addresses are not asked for elsewhere",
    "GOTRUE_MAILER_TEMPLATE_*": "templates are kept as long as Isobase does",
    "GOTRUE_SMTP_LOGGING_ENABLED": "failures are logged, addresses never",
    "GOTRUE_SECURITY_SB_FORWARDED_FOR_ENABLED": "GOTRUE_RATE_LIMIT_HEADER names the header",
    "GOTRUE_SECURITY_REFRESH_TOKEN_ALGORITHM_VERSION": "refresh tokens are of version 1",
    "GOTRUE_SECURITY_REFRESH_TOKEN_UPGRADE_PERCENTAGE": "refresh tokens are of version 1",
    "GOTRUE_SECURITY_REFRESH_TOKEN_ALLOW_REUSE": "refresh tokens are of version 1",
    "GOTRUE_PASSWORD_HIBP_USER*AGENT": "it is isobase",
    "GOTRUE_PASSWORD_HIBP_BLOOM_*": "answers are not remembered",
    "GOTRUE_EXTERNAL_*_API_URL": "the provider's API is where its URL says",
    "GOTRUE_EXTERNAL_OIDC_PROVIDER_CACHE_TTL": "discovery documents are kept as long as Isobase does",
    "GOTRUE_EXTERNAL_REDIRECTURL": "sign-ins end where the request or GOTRUE_SITE_URL says",
    "GOTRUE_EXTERNAL_EMAIL_AUTHORIZED_ADDRESSES": "mail goes to every address",
    "GOTRUE_CUSTOM_OAUTH_*": "providers are configured by variables alone",
    "GOTRUE_RATE_LIMIT_SSO": "there is no SAML sign-in",
    "GOTRUE_SAML_*": "there is no SAML sign-in",
    "GOTRUE_EXTERNAL_SAML_*": "there is no SAML sign-in",
    "GOTRUE_EXTERNAL_WEB3_*": "there is no sign-in by web3 wallet",
    "GOTRUE_EXPERIMENTAL_*": "experiments of upstream's",
}


def has_no_effect(name: str) -> bool:
    """Whether upstream knows the variable and Isobase does not heed it."""
    return any(fnmatchcase(name, pattern) for pattern in WITHOUT_EFFECT)
