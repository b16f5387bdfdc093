"""Every key that config.toml may hold: which setting it becomes, or that it has no effect here (yet).

Three kinds. ``_SETTINGS`` are read. ``_NOT_YET`` are known and would ask for something that Isobase does not do yet: they
give one warning per section, but not while they say no more than upstream's template. ``_SILENT`` have no meaning here
by design (ports and images of containers that do not exist). What is in none of them is an unknown key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from isobase_platform.config_toml import keys_auth, values
from isobase_platform.config_toml.values import Converter

__all__ = ["Target", "is_known", "target_of", "unsupported"]

Key: TypeAlias = tuple[str, ...]

ANY = "*"
"""In a pattern: any one name."""
REST = "**"
"""In a pattern, at its end: any names, at least one."""


@dataclass(slots=True, frozen=True)
class Target:
    """The setting that a key becomes, as its path in ``Settings``, and how its value is read."""

    setting: Key
    convert: Converter


_SETTINGS: dict[str, tuple[str, Converter]] = {
    **keys_auth.SETTINGS,
    "project_id": ("project_id", values.text),
    "api.enabled": ("rest.enabled", values.flag),
    "api.port": ("port", values.port),
    "api.external_url": ("public_url", values.text_or_none),
    "api.schemas": ("rest.schemas", values.texts),
    "api.extra_search_path": ("rest.extra_search_path", values.texts),
    "api.max_rows": ("rest.max_rows", values.number),
    "api.auto_expose_new_tables": ("rest.auto_expose_new_tables", values.flag),
    "db.port": ("database.port", values.port),
    "db.migrations.enabled": ("database.migrations_enabled", values.flag),
    "db.seed.enabled": ("database.seed_enabled", values.flag),
    "db.seed.sql_paths": ("database.seed_paths", values.texts),
    "db.settings.*": ("database.parameters.*", values.setting_text),
    "studio.port": ("studio_port", values.port),
    "inbucket.enabled": ("mailbox.enabled", values.flag),
    "inbucket.port": ("mail_port", values.port),
    "inbucket.smtp_port": ("mailbox.smtp_port", values.port),
    "inbucket.admin_email": ("mailbox.admin_email", values.text),
    "inbucket.sender_name": ("mailbox.sender_name", values.text),
    "local_smtp.enabled": ("mailbox.enabled", values.flag),
    "local_smtp.port": ("mail_port", values.port),
    "local_smtp.smtp_port": ("mailbox.smtp_port", values.port),
    "local_smtp.admin_email": ("mailbox.admin_email", values.text),
    "local_smtp.sender_name": ("mailbox.sender_name", values.text),
    "realtime.enabled": ("realtime.enabled", values.flag),
    "storage.enabled": ("storage.enabled", values.flag),
    "storage.file_size_limit": ("storage.file_size_limit_bytes", values.size_bytes),
    "storage.s3_protocol.enabled": ("storage.s3_protocol.enabled", values.flag),
    "storage.image_transformation.enabled": ("storage.images.enabled", values.flag),
    "storage.buckets.*": ("storage.buckets.*", values.empty_table),
    "storage.buckets.*.public": ("storage.buckets.*.public", values.flag),
    "storage.buckets.*.file_size_limit": ("storage.buckets.*.file_size_limit_bytes", values.size_bytes),
    "storage.buckets.*.allowed_mime_types": ("storage.buckets.*.allowed_mime_types", values.texts),
    "storage.buckets.*.objects_path": ("storage.buckets.*.objects_path", values.file_path),
}

# Key pattern -> the values that ask for nothing: what upstream's template holds, or what switches the thing off.
_NOT_YET: dict[str, tuple[object, ...]] = {
    **keys_auth.NOT_YET,
    "api.tls.enabled": (False,),
    "db.pooler.enabled": (False,),
    "db.vault.**": (),
    "db.migrations.schema_paths": ([],),
    "db.network_restrictions.enabled": (False,),
    "db.ssl_enforcement.enabled": (False,),
    "studio.enabled": (False,),
    "inbucket.pop3_port": (),
    "local_smtp.pop3_port": (),
    "storage.analytics.enabled": (False,),
    "storage.analytics.buckets.**": (),
    "storage.vector.enabled": (False,),
    "storage.vector.buckets.**": (),
    "edge_runtime.enabled": (False,),
    "functions.**": (),
    "analytics.enabled": (False,),
    "remotes.**": (),
    "experimental.orioledb_version": ("",),
    "experimental.webhooks.enabled": (False,),
    "experimental.pgdelta.enabled": (False,),
}

# Known, and without a meaning here: details of what is off or does not exist, containers' ports, hosted-only numbers.
_SILENT = (
    *keys_auth.SILENT,
    "api.tls.cert_path",
    "api.tls.key_path",
    "db.shadow_port",
    "db.health_timeout",
    "db.major_version",
    "db.root_key",
    "db.pooler.**",
    "db.network_restrictions.**",
    "realtime.ip_version",
    "realtime.max_header_length",
    "studio.**",
    "inbucket.**",
    "local_smtp.**",
    "storage.analytics.**",
    "storage.vector.**",
    "edge_runtime.**",
    "analytics.**",
    "experimental.s3_host",
    "experimental.s3_region",
    "experimental.s3_access_key",
    "experimental.s3_secret_key",
    "experimental.inspect.**",
    "experimental.pgdelta.**",
)


def _matches(pattern: str, key: Key) -> bool:
    parts = pattern.split(".")
    if parts[-1] == REST:
        parts.pop()
        if len(key) <= len(parts):
            return False
    elif len(parts) != len(key):
        return False
    return all(part in (ANY, name) for part, name in zip(parts, key, strict=False))


def target_of(key: Key) -> Target | None:
    """The setting that ``key`` becomes, or None."""
    for pattern, (setting, convert) in _SETTINGS.items():
        if _matches(pattern, key):
            # A name that stood for the pattern's star stands for the setting's star too.
            names = iter([name for part, name in zip(pattern.split("."), key, strict=True) if part == ANY])
            path = tuple(next(names) if part == ANY else part for part in setting.split("."))
            return Target(path, convert)
    return None


def unsupported(key: Key, value: object) -> str | None:
    """What to name in the warning when ``key`` asks for what Isobase does not do yet: ``[section]`` or the key; or None."""
    for pattern, harmless in _NOT_YET.items():
        if not _matches(pattern, key):
            continue
        if value in harmless:
            return None
        depth = len(pattern.split(".")) - 1
        section = ".".join(key[:depth])
        is_switch = pattern.endswith((".enabled", REST))
        is_partly_read = any(read.startswith(section + ".") for read in _SETTINGS)
        return ".".join(key) if is_partly_read and not is_switch else f"[{section}]"
    return None


def is_known(key: Key) -> bool:
    """Whether upstream's file may hold ``key``."""
    if key == ("storage", "buckets"):
        return True
    return any(_matches(pattern, key) for pattern in (*_NOT_YET, *_SILENT)) or _is_empty_section(key)


def _is_empty_section(key: Key) -> bool:
    """Whether ``key`` is a table of the file that was left empty."""
    patterns = (*_SETTINGS, *_NOT_YET, *_SILENT)
    return any(_matches(".".join(pattern.split(".")[: len(key)]), key) for pattern in patterns if REST not in pattern)
