"""The form of ``POST /storage/upload``: what its fields choose, where its file goes, and the file as a stream."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from isobase_platform.config_storage import StorageSettings
from isobase_platform.errors import BadRequest
from isobase_services.storage.core.kinds import Kind, Kinds, PlannedFile
from isobase_services.storage.core.upload import UploadFacts, UploadTarget
from isobase_services.storage.multipart import FilePart, MultipartForm

__all__ = ["FormFile", "plan_form"]

MAX_FILENAME_CHARS = 100
MAX_FOLDER_CHARS = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_FOLDER = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_TRUE = frozenset({"true", "1", "yes", "on"})
_FILE_FIRST = "The fields must come before file"


@dataclass(slots=True, frozen=True)
class _Choice:
    """What the form says beside the file. With a ``type`` its kind decides where the file goes."""

    folder: str
    is_public: bool
    type: str
    variables: Mapping[str, str]


class FormFile:
    """The form's file as the core takes it. ``kind`` is None where the form names no type."""

    def __init__(
        self, form: MultipartForm, choice: _Choice, planned: PlannedFile, kind: Kind | None, declared_length: int | None
    ) -> None:
        self._form = form
        self._choice = choice
        self.planned = planned
        self.kind = kind
        self.facts = UploadFacts(
            mime_type=planned.mime_type,
            cache_control=planned.cache_control,
            user_metadata=None,
            declared_length=declared_length,
            known_size=None,
            robots_tag=None,
        )

    @property
    def target(self) -> UploadTarget:
        """Where the file goes."""
        planned = self.planned
        return UploadTarget(planned.bucket, planned.key, planned.owner_id, planned.is_upsert)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes. Raises EntityTooLarge beyond the kind's limit, and 400 for fields behind the file."""
        size = 0
        async for chunk in self._form.file_chunks():
            size += len(chunk)
            if self.kind is not None:
                self.kind.check_size(size)
            yield chunk
        if _choice(self._form) != self._choice:
            # The key and the bucket follow from these fields, and the bytes are there already.
            raise BadRequest(_FILE_FIRST, code="invalid_form")


def plan_form(
    form: MultipartForm,
    part: FilePart,
    user_id: str,
    kinds: Kinds,
    settings: StorageSettings,
    declared_length: int | None,
) -> FormFile:
    """Decide where the form's file goes. Raises 400 for fields that cannot be, and what ``Kind.plan`` does."""
    choice = _choice(form)
    if choice.type:
        if choice.folder or choice.is_public:
            raise BadRequest("A type decides folder and public itself", code="invalid_form")
        kind = kinds.get(choice.type)
        planned = kind.plan(user_id, part.content_type, choice.variables, time.time_ns() // 1_000_000)
        return FormFile(form, choice, planned, kind, declared_length)
    if choice.folder and (len(choice.folder) > MAX_FOLDER_CHARS or not _FOLDER.fullmatch(choice.folder)):
        raise BadRequest(
            "The folder may hold letters, digits, _ and -, with / between its parts",
            code="invalid_folder",
            hint="Example: albums/2026",
        )
    cdn = settings.cdn
    planned = PlannedFile(
        kind="",
        bucket=settings.simple_public_bucket if choice.is_public else settings.simple_bucket,
        key=_key(user_id, choice.folder, part),
        owner_id=user_id,
        mime_type=part.content_type,
        cache_control=cdn.public_cache_control if choice.is_public else cdn.private_cache_control,
        is_upsert=False,
    )
    return FormFile(form, choice, planned, None, declared_length)


def _choice(form: MultipartForm) -> _Choice:
    fields = dict(form.fields)
    folder = fields.pop("folder", "").strip("/")
    is_public = fields.pop("public", "").strip().lower() in _TRUE
    kind = fields.pop("type", "").strip()
    return _Choice(folder, is_public, kind, fields if kind else {})


def _key(user_id: str, folder: str, part: FilePart) -> str:
    """``USER/FOLDER/RANDOM-NAME``: the random part keeps two files of one name apart."""
    name = _UNSAFE.sub("-", part.filename).strip("-.")[-MAX_FILENAME_CHARS:].lstrip("-.") or "file"
    parts = [user_id, folder, f"{uuid.uuid4().hex[:12]}-{name}"]
    return "/".join(piece for piece in parts if piece)
