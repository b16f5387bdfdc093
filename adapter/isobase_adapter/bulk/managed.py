"""What of a database is the project's own, and what the platform on each side makes and keeps by itself."""

from __future__ import annotations

__all__ = ["MANAGED_SCHEMAS", "OPEN_TABLES", "PLATFORM_EXTENSIONS", "PLATFORM_ROLES"]

MANAGED_SCHEMAS = (
    "_analytics",
    "_realtime",
    "_supavisor",
    "auth",
    "cron",
    "extensions",
    "graphql",
    "graphql_public",
    "information_schema",
    "isobase",
    "isobase_move",
    "net",
    "pgbouncer",
    "pgmq",
    "pgsodium",
    "pgsodium_masks",
    "pgtle",
    "realtime",
    "repack",
    "storage",
    "supabase_functions",
    "supabase_migrations",
    "tiger",
    "tiger_data",
    "topology",
    "vault",
)
"""Schemas that the platform or an extension owns; all others but ``pg_...`` are the project's."""

OPEN_TABLES = (
    "auth.users",
    "auth.identities",
    "auth.sessions",
    "storage.objects",
    "storage.buckets",
    "realtime.messages",
)
"""Tables of managed schemas on which projects have triggers and policies of their own."""

PLATFORM_ROLES = (
    "anon",
    "authenticated",
    "authenticator",
    "cli_login_postgres",
    "dashboard_user",
    "pgbouncer",
    "pgsodium_keyholder",
    "pgsodium_keyiduser",
    "pgsodium_keymaker",
    "postgres",
    "service_role",
    "supabase_admin",
    "supabase_auth_admin",
    "supabase_etl_admin",
    "supabase_functions_admin",
    "supabase_read_only_user",
    "supabase_realtime_admin",
    "supabase_replication_admin",
    "supabase_storage_admin",
)
"""Roles that are on both sides, or that the platform keeps for itself."""

PLATFORM_EXTENSIONS = {
    "pg_graphql": "GraphQL is not served by Isobase",
    "supabase_vault": "Isobase has no vault: keep secrets where the app reads its settings",
    "pgsodium": "encrypted columns have to be decrypted before the move",
    "pg_net": "requests that the database sends (webhooks) are not made by Isobase",
    "pg_cron": "jobs are moved by hand; on RDS pg_cron is an extension, elsewhere a scheduler calls the API",
    "http": "requests that the database sends are not possible on RDS",
    "wrappers": "foreign data wrappers do not move",
    "pg_stat_statements": "",
    "pgjwt": "",
}
"""Extensions that a project of Supabase has by itself or by a switch, with what is to be known of them. A target that has
not got one of them lacks nothing by that: what uses it is refused there by itself, and named.
"""
