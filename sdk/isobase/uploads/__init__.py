"""Uploads of an app's users by kind (``client.uploads``): Isobase's ``/storage/upload``, ``/storage/uploads``,
``/storage/{file_id}``.

``models`` holds what is answered, ``sources`` what can be sent (both pure of requests); ``_async`` sends.
"""

from __future__ import annotations

from isobase._face.errors import IsobaseAPIError
from isobase.uploads._async.uploads import AsyncUploads
from isobase.uploads._sync.uploads import SyncUploads
from isobase.uploads.models import BegunUpload, StoredFile

__all__ = ["AsyncUploads", "BegunUpload", "IsobaseAPIError", "StoredFile", "SyncUploads"]
