"""The auth client: the public names of the package ``supabase_auth``, and what is ours beside them.

Ours: ``FileStorage`` (a session on disk), ``sign_out_reason`` (why a user was signed out), ``web3_message`` (what a
wallet signs).
"""

from isobase.auth._async.gotrue_admin_api import AsyncGoTrueAdminAPI as AsyncGoTrueAdminAPI
from isobase.auth._async.gotrue_client import AsyncGoTrueClient as AsyncGoTrueClient
from isobase.auth._async.storage import AsyncMemoryStorage as AsyncMemoryStorage
from isobase.auth._async.storage import AsyncSupportedStorage as AsyncSupportedStorage
from isobase.auth._sync.gotrue_admin_api import SyncGoTrueAdminAPI as SyncGoTrueAdminAPI
from isobase.auth._sync.gotrue_client import SyncGoTrueClient as SyncGoTrueClient
from isobase.auth._sync.storage import SyncMemoryStorage as SyncMemoryStorage
from isobase.auth._sync.storage import SyncSupportedStorage as SyncSupportedStorage
from isobase.auth.events import SignOutReason as SignOutReason
from isobase.auth.events import sign_out_reason as sign_out_reason
from isobase.auth.file_storage import FileStorage as FileStorage
from isobase.auth.types import *  # noqa: F403 - supabase_auth does so too; the module says what it exports
from isobase.auth.version import __version__ as __version__
from isobase.auth.web3 import web3_message as web3_message
