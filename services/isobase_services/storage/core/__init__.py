"""The one core below all faces: buckets, uploads, reads, lists, removals, moves and copies.

Who may do what is decided by PostgreSQL's policies on ``storage.buckets`` and ``storage.objects`` and by nothing else: each
operation runs as the caller through the RLS door, writes are tried as the caller and rolled back before bytes move, and
only what policies allowed is then written as the service. Source: contracts/storage.md 1.7.
"""

from __future__ import annotations

from dataclasses import dataclass

from isobase_platform.runtime import Platform
from isobase_services.storage.blob import BlobStore
from isobase_services.storage.core.buckets import Buckets
from isobase_services.storage.core.carry import Carries
from isobase_services.storage.core.cdn import Cdn
from isobase_services.storage.core.database import StorageDatabase
from isobase_services.storage.core.direct import DirectUploads
from isobase_services.storage.core.direct_read import DirectReads
from isobase_services.storage.core.health import Health
from isobase_services.storage.core.images import Images
from isobase_services.storage.core.key_listing import KeyListings
from isobase_services.storage.core.kinds import Kinds
from isobase_services.storage.core.listing import Listings
from isobase_services.storage.core.parts import PartUploads
from isobase_services.storage.core.parts_listing import PartListings
from isobase_services.storage.core.read import Reads
from isobase_services.storage.core.remove import Removals
from isobase_services.storage.core.resumable import Resumable
from isobase_services.storage.core.sign import Signing
from isobase_services.storage.core.transfer import Transfers
from isobase_services.storage.core.upload import Uploads
from isobase_services.storage.core.write import Finisher, ObjectWriter
from isobase_services.storage.signer import Signer

__all__ = ["StorageCore"]


@dataclass(slots=True, frozen=True)
class StorageCore:
    """The operations, ready to use. Build it with ``build``."""

    buckets: Buckets
    uploads: Uploads
    resumable: Resumable
    reads: Reads
    listings: Listings
    key_listings: KeyListings
    parts: PartUploads
    part_listings: PartListings
    removals: Removals
    transfers: Transfers
    signing: Signing
    signer: Signer
    finisher: Finisher
    health: Health
    cdn: Cdn
    kinds: Kinds
    direct: DirectUploads
    direct_reads: DirectReads
    images: Images
    carries: Carries

    @classmethod
    def build(cls, platform: Platform, blobs: BlobStore) -> StorageCore:
        """Put the operations together over one database and one blob store."""
        settings = platform.settings.storage
        limit_bytes = settings.file_size_limit_bytes
        database = StorageDatabase(platform.door)
        finisher = Finisher()
        writer = ObjectWriter(database, blobs, finisher)
        signer = Signer(platform.issuer, platform.own_verifier)
        reads = Reads(database, blobs)
        images = Images(reads, settings.images, platform.settings.image_cache_root)
        uploads = Uploads(database, blobs, writer, limit_bytes)
        return cls(
            buckets=Buckets(database, writer, limit_bytes, settings.empty_bucket_max_objects),
            uploads=uploads,
            resumable=Resumable(database, blobs, writer, finisher, settings),
            reads=reads,
            listings=Listings(database),
            key_listings=KeyListings(database),
            parts=PartUploads(database, blobs, writer, finisher, limit_bytes, settings.s3_protocol.min_part_size_bytes),
            part_listings=PartListings(database),
            removals=Removals(database, writer, finisher, settings.delete_many_max_objects),
            transfers=Transfers(database, blobs, writer, finisher),
            signing=Signing(database, uploads, signer, settings.signed_upload_url_ttl_s),
            signer=signer,
            finisher=finisher,
            health=Health(database),
            cdn=Cdn(settings.cdn, platform.settings.project_id, [images]),
            images=images,
            kinds=Kinds(settings),
            carries=Carries(database, blobs, writer, finisher),
            direct_reads=DirectReads(blobs, is_enabled=settings.direct_downloads),
            direct=DirectUploads(
                database, blobs, writer, signer, ttl_s=settings.direct_upload_ttl_s, size_limit_bytes=limit_bytes
            ),
        )
