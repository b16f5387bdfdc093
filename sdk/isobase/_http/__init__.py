"""The transport of every sub-client: an httpx client with one time limit for a whole call, safe retries and short ways.

``AsyncSession`` and ``SyncSession`` are httpx clients, so whatever takes one works with them; ``options`` holds what a
call may be told, ``retry`` the decisions, ``errors`` the few errors that httpx has no name for.
"""

from isobase._http._async.session import AsyncSession
from isobase._http._sync.session import SyncSession
from isobase._http.errors import CallCancelled, DeadlineExceeded
from isobase._http.options import CallOptions, CallPolicy, Cancellation, call_options, current_options, shared_context
from isobase._http.retry import READ, RETRIED_STATUSES, delay_s

__all__ = [
    "READ",
    "RETRIED_STATUSES",
    "AsyncSession",
    "CallCancelled",
    "CallOptions",
    "CallPolicy",
    "Cancellation",
    "DeadlineExceeded",
    "SyncSession",
    "call_options",
    "current_options",
    "delay_s",
    "shared_context",
]
