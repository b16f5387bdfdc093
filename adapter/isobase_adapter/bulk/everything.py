"""``Sync`` of everything that a project has: rows by the log, users and objects beside it, each after its own writer."""

from __future__ import annotations

from isobase_adapter.auth.sync import UserSync
from isobase_adapter.bulk.connections import Connection, connect
from isobase_adapter.bulk.parts import Parts
from isobase_adapter.bulk.progress import NO_PROGRESS, Progress
from isobase_adapter.bulk.sync import Sync
from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Fence
from isobase_adapter.sides import Side
from isobase_adapter.storage.sync import StorageSync

__all__ = ["sync_of"]

AUTH = Capability(Kind.AUTH)


def sync_of(parts: Parts, control: Connection, progress: Progress = NO_PROGRESS, *, only_rows: bool = False) -> Sync:
    """Make the ``Sync`` of both sides. only_rows: users and objects are left alone."""

    async def open_connection(side: Side) -> Connection:
        return await connect(parts.dsns[side], "sync")

    sync = Sync(
        parts.databases,
        parts.rows,
        control,
        open_connection,
        progress=progress,
        fence_of=parts.outbox.writer_fence,
    )
    if only_rows:
        return sync

    def fence_of_users(target: Side) -> Fence:
        return parts.outbox.writer_fence(AUTH, target, sync.epoch_of(AUTH))

    def target_of_bucket(bucket: str) -> Side:
        return sync.writer_of(Capability(Kind.BUCKET, bucket)).other

    def fence_of_bucket(bucket: str, target: Side) -> Fence:
        capability = Capability(Kind.BUCKET, bucket)
        return parts.outbox.writer_fence(capability, target, sync.epoch_of(capability))

    sync.also(UserSync(parts.databases, lambda: sync.writer_of(AUTH).other, fence_of=fence_of_users))
    if parts.objects is not None:
        sync.also(StorageSync(parts.objects, target_of_bucket, fence_of=fence_of_bucket))
    return sync
