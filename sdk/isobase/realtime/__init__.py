"""The realtime client: broadcast, presence and row changes over one socket, async and sync.

The names of the package ``realtime``; below: ``wire``, ``joining``, ``positions``, ``listeners``, ``presence``,
``filters`` and ``delays`` are the protocol without I/O, ``_async`` puts it on a socket, ``_sync`` runs that in a
thread of its own.
"""

from isobase.realtime._async.channel import AsyncRealtimeChannel as AsyncRealtimeChannel
from isobase.realtime._async.client import AsyncRealtimeClient as AsyncRealtimeClient
from isobase.realtime._async.presence import AsyncRealtimePresence as AsyncRealtimePresence
from isobase.realtime._sync.channel import SyncRealtimeChannel as SyncRealtimeChannel
from isobase.realtime._sync.client import SyncRealtimeClient as SyncRealtimeClient
from isobase.realtime._sync.presence import SyncRealtimePresence as SyncRealtimePresence
from isobase.realtime.exceptions import *  # noqa: F403 - the list of the module
from isobase.realtime.filters import PostgresChangesFilter as PostgresChangesFilter
from isobase.realtime.filters import postgres_changes_filter as postgres_changes_filter
from isobase.realtime.message import *  # noqa: F403
from isobase.realtime.transformers import *  # noqa: F403
from isobase.realtime.types import *  # noqa: F403
from isobase.realtime.version import __version__ as __version__
