"""The two stores of a move: from the settings, with flags above them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isobase_platform.config import Settings
from isobase_platform.config_storage.s3 import S3Settings
from isobase_platform.errors import ConfigurationError
from isobase_platform.observe import mask_secrets
from isobase_services.storage.blob import BlobStore
from isobase_services.storage.blob.create import create_single_store, place_of_store

__all__ = ["Side", "main_side", "side_of", "sides_of"]


@dataclass(slots=True, frozen=True)
class Side:
    """One store: a directory, or a place in an S3 bucket."""

    backend: Literal["file", "s3"]
    root: Path
    s3: S3Settings

    def __str__(self) -> str:
        if self.backend == "file":
            return str(self.root)
        prefix = self.s3.prefix.strip("/")
        place = f"s3://{self.s3.bucket}{f'/{prefix}' if prefix else ''}"
        return mask_secrets(f"{place} at {self.s3.endpoint_url}") if self.s3.endpoint_url else place

    @property
    def place(self) -> tuple[str, ...]:
        """The same for two sides that are one store."""
        return place_of_store(self.backend, self.root, self.s3)

    def store(self) -> BlobStore:
        """The store, not started yet. Raises ``ConfigurationError`` for S3 without a bucket."""
        return create_single_store(self.backend, self.root, self.s3)


def main_side(settings: Settings) -> Side:
    """The store that the settings have the server write to."""
    return Side(settings.storage.backend, settings.storage_root, settings.storage.s3)


def _fallback_side(settings: Settings) -> Side:
    fallback = settings.storage.fallback
    if fallback.backend is None:
        raise ConfigurationError(
            "storage.fallback is not set", hint="set ISOBASE_STORAGE__FALLBACK__BACKEND and what belongs to it"
        )
    return Side(fallback.backend, fallback.root or settings.storage_root, fallback.s3)


def side_of(settings: Settings, parsed: argparse.Namespace, name: Literal["from", "to"]) -> Side:
    """The store that ``--from`` or ``--to`` names, with its flags. Raises ``ConfigurationError``."""
    flags = vars(parsed)
    given: str = flags[f"{name}_side"]
    storage = settings.storage
    if given == "main":
        side = main_side(settings)
    elif given == "fallback":
        side = _fallback_side(settings)
    elif given == "file":
        is_fallbacks = storage.backend != "file" and storage.fallback.backend == "file"
        side = _fallback_side(settings) if is_fallbacks else Side("file", settings.storage_root, storage.s3)
    else:
        is_fallbacks = not storage.s3.bucket and storage.fallback.backend == "s3"
        side = _fallback_side(settings) if is_fallbacks else Side("s3", settings.storage_root, storage.s3)
    changes = {
        "bucket": flags[f"{name}_bucket"],
        "prefix": flags[f"{name}_prefix"],
        "region": flags[f"{name}_region"],
        "endpoint_url": flags[f"{name}_endpoint_url"],
        "force_path_style": flags[f"{name}_path_style"],
    }
    changes = {key: value for key, value in changes.items() if value is not None}
    root: Path | None = flags[f"{name}_root"]
    if (side.backend == "file" and changes) or (side.backend == "s3" and root is not None):
        raise ConfigurationError(f"--{name} is {side.backend}: its flags are those of the other kind of store")
    return Side(side.backend, (root or side.root).absolute(), side.s3.model_copy(update=changes))


def sides_of(settings: Settings, parsed: argparse.Namespace) -> tuple[Side, Side]:
    """Source and target. Raises ``ConfigurationError`` where they are the same store, or are not told apart."""
    if parsed.from_side == parsed.to_side == "s3":
        raise ConfigurationError(
            "--from s3 --to s3 does not say which is which",
            hint="set one of them as storage.fallback and call them main and fallback",
        )
    source, target = side_of(settings, parsed, "from"), side_of(settings, parsed, "to")
    for side in (source, target):
        if side.backend == "s3" and not side.s3.bucket:
            raise ConfigurationError("an S3 bucket is not set", hint="set ISOBASE_STORAGE__S3__BUCKET, or give a flag")
    if source.place == target.place:
        raise ConfigurationError(f"both stores are {source}")
    return source, target
