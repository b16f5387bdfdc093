"""Kinds of files that an app's users upload: where each goes and what it may be. `storage.kinds.NAME` of the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from isobase_platform.config_group import SettingsGroup

__all__ = ["DEFAULT_KINDS", "KIND_NAME", "PLACEHOLDER", "UploadKind", "with_default_kinds"]

KIND_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
"""A variable in a template: lower-case letters, digits and underscores in braces."""
BUILT_IN = frozenset({"user_id", "timestamp", "random", "ext"})
"""Variables that the server fills: the caller's id, milliseconds since 1970, 16 random hex digits, the type's extension."""
_LITERAL_KEY = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*")
_IMAGES = ("image/jpeg", "image/png", "image/webp")
_MORE_IMAGES = ("image/gif", "image/heic", "image/heif", "image/avif")
"""By name and not as `image/*`: that would take SVG, which can hold scripts."""
_MIB = 1024 * 1024


class UploadKind(SettingsGroup):
    """One kind of upload."""

    key: str
    """Template of the object's key, such as `story-media/{user_id}/{timestamp}-{random}.{ext}`."""
    variables: tuple[str, ...] = ()
    """Variables of the template that the request gives, beside the built-in ones; each is one segment of the key."""
    bucket: str | None = None
    """The bucket; default the simple face's own, with policies for the kind. For another bucket the project makes them."""
    public: bool = False
    """Whether the file is in the simple face's public bucket, where anybody may read it by its URL."""
    allowed_mime_types: tuple[str, ...] = ()
    """What the file may be, as a bucket's list: `image/png`, `image/*`; none: anything."""
    max_size_bytes: int = Field(default=10 * _MIB, ge=1)
    keep_latest: int | None = Field(default=None, ge=1)
    """How many of a user's files of this kind stay when a new one is complete; none: all."""
    enabled: bool = True

    @model_validator(mode="after")
    def _is_usable(self) -> UploadKind:
        used = PLACEHOLDER.findall(self.key)
        unknown = sorted(set(used) - BUILT_IN - set(self.variables))
        if unknown:
            raise ValueError(f"the key names {{{unknown[0]}}}, which is neither built in nor one of the variables")
        unused = sorted((set(self.variables) - set(used)) | (set(self.variables) & BUILT_IN))
        if unused:
            raise ValueError(f"the variable {unused[0]} is built in or not in the key")
        literal = PLACEHOLDER.sub("x", self.key)
        if not _LITERAL_KEY.fullmatch(literal) or {".", ".."} & set(literal.split("/")):
            raise ValueError("the key is no path of letters, digits and _ . - with {variables}")
        if self.public and self.bucket is not None:
            raise ValueError(
                "public chooses between the simple face's own buckets; a bucket of its own says itself what it is"
            )
        if self.keep_latest is not None and not ({"timestamp", "random"} & set(used) and "user_id" in used):
            raise ValueError("keep_latest needs a key with {user_id}, and {timestamp} or {random}")
        return self


DEFAULT_KINDS: Mapping[str, UploadKind] = {
    "profile-picture": UploadKind(
        key="profile-pictures/{user_id}/avatar-{timestamp}.jpg",
        public=True,
        allowed_mime_types=_IMAGES,
        max_size_bytes=5 * _MIB,
        keep_latest=2,
    ),
    "activity-image": UploadKind(
        key="activity-images/{activity_id}/{timestamp}-{random}.{ext}",
        variables=("activity_id",),
        allowed_mime_types=_IMAGES,
        max_size_bytes=10 * _MIB,
    ),
    "story-media": UploadKind(
        key="story-media/{user_id}/{timestamp}-{random}.{ext}",
        allowed_mime_types=(*_IMAGES, *_MORE_IMAGES, "video/mp4", "video/quicktime", "video/webm"),
        max_size_bytes=50 * _MIB,
    ),
}


def with_default_kinds(given: Any) -> Any:
    """``given`` over the default kinds, member by member, so that a project can change one limit and keep the rest.

    Raises ``ValueError`` for a name that no kind can have.
    """
    if not isinstance(given, Mapping):
        return given
    kinds: dict[str, Any] = dict(DEFAULT_KINDS)
    for name, kind in given.items():
        if not KIND_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a kind: at most 32 lower-case letters, digits and -")
        default = DEFAULT_KINDS.get(name)
        kinds[name] = {**default.model_dump(), **kind} if default and isinstance(kind, Mapping) else kind
    return kinds
