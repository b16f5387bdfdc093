"""The verifiers of begun PKCE flows, kept in the client's storage; their names and shapes are in
``isobase.auth.pkce``.
"""

from __future__ import annotations

import json

from httpx import Response

from isobase.auth._async.sessions import AsyncSessions
from isobase.auth._async.storage import get_item, remove_item, set_item
from isobase.auth.calls import Call
from isobase.auth.errors import AuthError
from isobase.auth.pkce import (
    MAX_CONCURRENT_FLOWS,
    PkceFlow,
    flow_index,
    index_key,
    latest_key,
    new_flow,
    slot_key,
    with_flow_id,
)

__all__ = ["AsyncPkceFlows"]


class AsyncPkceFlows(AsyncSessions):
    """Begins and ends PKCE flows."""

    _flow_type: str
    _append_flow_id: bool

    async def _begin_flow(self, *, is_recovery: bool = False) -> PkceFlow | None:
        """Begin a flow and keep its verifier; None for a client of the implicit flow."""
        if self._flow_type != "pkce":
            return None
        flow = new_flow(is_recovery=is_recovery)
        await set_item(self._storage, slot_key(self._storage_key, flow.flow_id), flow.stored)
        index = flow_index(await get_item(self._storage, index_key(self._storage_key)))
        index.append(flow.flow_id)
        while len(index) > MAX_CONCURRENT_FLOWS:
            await remove_item(self._storage, slot_key(self._storage_key, index.pop(0)))
        await set_item(self._storage, index_key(self._storage_key), json.dumps(index))
        await set_item(self._storage, latest_key(self._storage_key), flow.stored)
        return flow

    async def _verifier_of(self, flow_id: str | None) -> str | None:
        """Give what is kept of a flow, or of the newest one when no id is given. Another flow's is never taken
        instead.
        """
        key = latest_key(self._storage_key) if flow_id is None else slot_key(self._storage_key, flow_id)
        return await get_item(self._storage, key)

    async def _end_flow(self, flow_id: str | None, stored: str) -> None:
        """Forget one flow, and the newest flow's copy when that is it; others stay."""
        index = flow_index(await get_item(self._storage, index_key(self._storage_key)))
        if flow_id is None:  # which of them was the newest one
            for one in index:
                if await get_item(self._storage, slot_key(self._storage_key, one)) == stored:
                    flow_id = one
        if flow_id is not None:
            await remove_item(self._storage, slot_key(self._storage_key, flow_id))
        if flow_id in index:
            index.remove(flow_id)
            if index:
                await set_item(self._storage, index_key(self._storage_key), json.dumps(index))
            else:
                await remove_item(self._storage, index_key(self._storage_key))
        if await get_item(self._storage, latest_key(self._storage_key)) == stored:
            await remove_item(self._storage, latest_key(self._storage_key))

    async def _send(self, call: Call, *, is_recovery: bool = False, jwt: str | None = None) -> Response:
        """Send a call, with a challenge where it takes one; the flow of a call that fails is forgotten."""
        flow = await self._begin_flow(is_recovery=is_recovery) if call.with_pkce else None
        redirect_to, body = call.redirect_to, call.body
        if flow is not None:
            body = {**body, **flow.fields}
            if redirect_to and self._append_flow_id:
                redirect_to = with_flow_id(redirect_to, flow.flow_id)
        try:
            return await self._request(
                call.method, call.path, body=body, redirect_to=redirect_to, query=call.query, jwt=jwt
            )
        except AuthError:
            if flow is not None:
                await self._end_flow(flow.flow_id, flow.stored)
            raise
