"""The public names of ``supabase.client``: those of the package, and the sub-clients' classes under upstream's names."""

import isobase as _package
from isobase import *  # noqa: F403
from isobase._async.auth_client import AsyncSupabaseAuthClient as AsyncSupabaseAuthClient
from isobase.storage import AsyncStorageClient as AsyncSupabaseStorageClient

__all__ = (*_package.__all__, "AsyncSupabaseAuthClient", "AsyncSupabaseStorageClient")
