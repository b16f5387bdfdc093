"""A session at the real GoTrue: the rules of this client fit its answers too."""

from __future__ import annotations

import pytest

from isobase.auth import AsyncGoTrueClient
from isobase.auth.errors import AuthApiError
from tests.sdk.auth._async.tools import Events, expire, signed_up, together
from tests.sdk.auth.upstream.conftest import Upstream


async def test_a_session_is_made_refreshed_looked_into_and_ended(upstream: Upstream) -> None:
    async with AsyncGoTrueClient(url=upstream.url, auto_refresh_token=False) as client:
        events = Events(client)
        first = await signed_up(client)
        await expire(client)
        found = await together(*[client.get_session] * 5)
        assert {one.refresh_token for one in found} != {first.refresh_token}
        assert len({one.refresh_token for one in found}) == 1
        claims = await client.get_claims()
        assert claims is not None
        assert claims["claims"]["sub"] == first.user.id
        await client.update_user({"data": {"colour": "green"}})
        session = await client.get_session()
        assert session is not None
        assert session.user.user_metadata["colour"] == "green"
        await client.admin.sign_out(session.access_token)
        await expire(client)
        with pytest.raises(AuthApiError):
            await client.get_session()
        assert await client.get_session() is None
        assert events == [
            ("SIGNED_IN", None),
            ("TOKEN_REFRESHED", None),
            ("USER_UPDATED", None),
            ("SIGNED_OUT", "session_expired"),
        ]
