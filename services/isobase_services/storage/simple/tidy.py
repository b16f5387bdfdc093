"""Removing a user's older files of a kind when a new one is there: an avatar's predecessors."""

from __future__ import annotations

import logging
from dataclasses import replace

from isobase_platform.errors import IsobaseError
from isobase_services.storage.core import StorageCore
from isobase_services.storage.core.database import Actor
from isobase_services.storage.core.kinds import Kind

__all__ = ["remove_older"]

_log = logging.getLogger("isobase.storage")


async def remove_older(core: StorageCore, actor: Actor, user_id: str, kind: Kind, key: str) -> None:
    """Remove what is older than the newest files that the kind keeps; as the caller, so policies may keep more.

    The new file is there in any case: a failure here is a line in the log.
    """
    older = kind.older_files(user_id)
    if older is None:
        return
    actor = replace(actor, operation="storage.object.delete_many")
    try:
        keys = [name for name in await core.direct.older(actor, user_id, older) if name != key]
        if keys:
            await core.removals.remove_many(actor, older.bucket, keys)
    except IsobaseError as error:
        _log.warning("older files of a kind were not removed", extra={"kind": kind.name, "reason": error.code})
