"""Kinds of uploads: from a kind's template and a request to the object's bucket and key. Pure; the clock is given.

Source: contracts/storage.md section 4 "presign upload"; the kinds themselves are settings (``storage.kinds``).
"""

from __future__ import annotations

import mimetypes
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from isobase_platform.config_storage import StorageSettings
from isobase_platform.config_storage.kinds import PLACEHOLDER, UploadKind
from isobase_platform.errors import BadRequest, Forbidden
from isobase_services.storage.errors import refuse
from isobase_services.storage.rules import check_key, check_mime_type

__all__ = ["Kind", "Kinds", "OlderFiles", "PlannedFile"]

RANDOM_BYTES = 8
OVERWRITTEN_CACHE_CONTROL = "max-age=3600"
"""For a kind whose key is the same every time: a copy must not be good for a year."""
_VALUE = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MIME_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
_EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/avif": "avif",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
}
"""Where Python's own table has none, or one that depends on the machine."""
_PATTERNS = {"timestamp": "[0-9]+", "random": "[0-9a-f]+", "ext": "[a-z0-9]+"}


@dataclass(slots=True, frozen=True)
class PlannedFile:
    """Where a file goes, as what, and for how long copies of it are good. ``is_upsert``: its key may be taken already."""

    kind: str
    bucket: str
    key: str
    owner_id: str
    mime_type: str
    cache_control: str
    is_upsert: bool


@dataclass(slots=True, frozen=True)
class OlderFiles:
    """A user's earlier files of a kind: keys that begin with ``prefix`` and match ``pattern`` (a regular expression)."""

    bucket: str
    prefix: str
    pattern: str
    keep: int


@dataclass(slots=True, frozen=True)
class Kind:
    """A kind that requests may name."""

    name: str
    settings: UploadKind
    bucket: str
    public_cache_control: str
    private_cache_control: str

    def plan(self, user_id: str, content_type: str, variables: Mapping[str, str], now_ms: int) -> PlannedFile:
        """Where a file of ``content_type`` goes.

        ``variables`` are the request's own; ``now_ms``: milliseconds since 1970. Raises InvalidMimeType, and 400 or 403
        naming the variable or the user id that no key can hold.
        """
        mime_type = content_type.split(";")[0].strip().lower()
        if not _MIME_TYPE.fullmatch(mime_type):
            raise refuse.invalid_mime_type(content_type[:200])
        check_mime_type(mime_type, self.settings.allowed_mime_types)
        values = self._values(user_id, variables)
        values |= {"timestamp": str(now_ms), "random": secrets.token_hex(RANDOM_BYTES), "ext": _extension(mime_type)}
        key = PLACEHOLDER.sub(lambda match: values[match[1]], self.settings.key)
        check_key(key)
        is_versioned = bool({"timestamp", "random"} & set(PLACEHOLDER.findall(self.settings.key)))
        year = self.public_cache_control if self.settings.public else self.private_cache_control
        return PlannedFile(
            kind=self.name,
            bucket=self.bucket,
            key=key,
            owner_id=user_id,
            mime_type=mime_type,
            cache_control=year if is_versioned else OVERWRITTEN_CACHE_CONTROL,
            is_upsert=not is_versioned,
        )

    def check_size(self, size_bytes: int) -> None:
        """Raise EntityTooLarge for more than the kind takes."""
        if size_bytes > self.settings.max_size_bytes:
            raise refuse.too_large()

    def older_files(self, user_id: str) -> OlderFiles | None:
        """Which of the user's files may go when there is a new one; None where all stay."""
        keep = self.settings.keep_latest
        if keep is None:
            return None
        pieces = PLACEHOLDER.split(self.settings.key)  # text, name, text, name, ...
        pattern, prefix, is_prefix = "", "", True
        for position, piece in enumerate(pieces):
            is_text = position % 2 == 0
            value = piece if is_text else user_id if piece == "user_id" else None
            is_prefix = is_prefix and value is not None
            prefix += value if is_prefix and value is not None else ""
            pattern += _PATTERNS.get(piece, "[A-Za-z0-9_-]+") if value is None else re.escape(value)
        return OlderFiles(self.bucket, prefix, f"^{pattern}$", keep)

    def _values(self, user_id: str, variables: Mapping[str, str]) -> dict[str, str]:
        if not _VALUE.fullmatch(user_id):
            raise Forbidden("This user's id cannot be part of a key", code="user_required")
        wanted = set(self.settings.variables)
        for name in sorted(wanted - set(variables)):
            raise BadRequest(f"The kind {self.name} needs the variable {name}", code="missing_variable")
        if set(variables) - wanted:
            raise BadRequest(
                f"The kind {self.name} has no such variable",
                code="unknown_variable",
                hint=f"It has: {', '.join(sorted(wanted)) or 'none'}",
            )
        for name, value in variables.items():
            if not _VALUE.fullmatch(value):
                raise BadRequest(
                    f"The variable {name} may hold 1 to 100 letters, digits, _ and -", code="invalid_variable"
                )
        return {**variables, "user_id": user_id}


class Kinds:
    """The kinds of the settings, by name."""

    def __init__(self, settings: StorageSettings) -> None:
        self._kinds = {
            name: Kind(
                name=name,
                settings=kind,
                bucket=kind.bucket or (settings.simple_public_bucket if kind.public else settings.simple_bucket),
                public_cache_control=settings.cdn.public_cache_control,
                private_cache_control=settings.cdn.private_cache_control,
            )
            for name, kind in settings.kinds.items()
            if kind.enabled
        }

    def find(self, name: str) -> Kind | None:
        """The kind of this name, or None."""
        return self._kinds.get(name)

    def get(self, name: str) -> Kind:
        """The kind of this name. Raises 400 ``unknown_kind``."""
        kind = self._kinds.get(name)
        if kind is None:
            hint = f"Kinds: {', '.join(sorted(self._kinds)) or 'none'}"
            raise BadRequest("There is no such kind of upload", code="unknown_kind", hint=hint)
        return kind


def _extension(mime_type: str) -> str:
    known = _EXTENSIONS.get(mime_type) or (mimetypes.guess_extension(mime_type) or ".bin")[1:]
    return known if known.isalnum() and known.isascii() else "bin"
