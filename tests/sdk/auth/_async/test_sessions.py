"""A session through time and faults: refreshed once for all, kept while the server is away, ended by a refusal
alone.
"""

from __future__ import annotations

# [async]
import asyncio

# [/async]
# [sync] import threading
from functools import partial

import httpx
import pytest

from isobase._acompat import AEvent, aspawn
from isobase._http import AsyncSession, DeadlineExceeded, call_options
from isobase.auth import AsyncGoTrueClient, Session
from isobase.auth._async.storage import set_item
from isobase.auth.errors import AuthApiError, AuthRetryableError, AuthSessionMissingError
from tests.plugins.fault_proxy import Break
from tests.sdk.auth._async.tools import Events, expire, opened, signed_up, together, until
from tests.sdk.auth.conftest import AuthService
from tests.sdk.auth.network import Network

CALLERS = 8


# One refresh


@pytest.mark.capability("auth.session.get_session", "auth.session.refresh_session")
async def test_callers_at_the_same_time_share_one_refresh(auth_service: AuthService, network: Network) -> None:
    async with opened(auth_service, url=network.url) as client:
        first = await signed_up(client)
        events = Events(client)
        await expire(client)
        found = await together(*[client.get_session] * CALLERS)
        assert {session.refresh_token for session in found} == {(await client.get_session()).refresh_token}  # type: ignore[union-attr]
        assert found[0].refresh_token != first.refresh_token
        assert network.refreshes == 1
        assert events.names == ["TOKEN_REFRESHED"]
        again = await together(*[client.refresh_session] * CALLERS)
        # A thread that comes late finds the new session, and is given a newer one.
        assert len({answer.session.refresh_token for answer in again}) == network.refreshes - 1
        # [async]
        assert network.refreshes == 2
        # [/async]


async def test_callers_at_the_same_time_share_the_error_of_a_refresh(
    auth_service: AuthService, network: Network
) -> None:
    async with opened(auth_service, url=network.url) as client:
        await signed_up(client)
        await expire(client)
        network.breaks(Break.ERROR_503)
        found = await together(*[client.get_session] * CALLERS)
        assert [type(error) for error in found] == [AuthRetryableError] * CALLERS
        # [async]
        assert network.refreshes == 1
        # [/async]


@pytest.mark.parametrize("persist", [True, False])
async def test_a_session_is_given_as_it_is_while_it_is_not_due(
    auth_service: AuthService, network: Network, persist: bool
) -> None:
    async with opened(auth_service, url=network.url, persist_session=persist) as client:
        first = await signed_up(client)
        assert await client.get_session() == first
        assert network.refreshes == 0


# A server that is away


async def test_a_server_that_is_away_ends_no_session(auth_service: AuthService, network: Network) -> None:
    async with opened(auth_service, url=network.url) as client:
        first = await signed_up(client)
        events = Events(client)
        await expire(client, seconds_left=60)
        network.breaks()
        for _ in range(2):  # the second call waits for the next try instead of asking a server that has just been away
            found = await client.get_session()
            assert found is not None
            assert found.access_token == first.access_token
        seen = network.refreshes
        await expire(client)
        with pytest.raises(AuthRetryableError):
            await client.get_session()
        assert network.refreshes > seen
        network.heals()
        found = await client.get_session()
        assert found is not None
        assert found.refresh_token != first.refresh_token
        assert events.names == ["TOKEN_REFRESHED"]


async def test_a_refresh_whose_answer_was_lost_is_done_again(auth_service: AuthService, network: Network) -> None:
    async with opened(auth_service, url=network.url) as client:
        await signed_up(client)
        await expire(client)
        network.breaks(Break.LOSE_ANSWER, times=1)
        found = (await together(client.get_session))[0]
        if isinstance(found, AuthRetryableError):
            found = await client.get_session()
        assert isinstance(found, Session)
        assert await client.get_user() is not None


async def test_a_refusal_ends_the_session_and_tells_why(auth_service: AuthService) -> None:
    async with opened(auth_service) as client, opened(auth_service) as other:
        first = await signed_up(client)
        events = Events(client)
        await other.set_session(first.access_token, first.refresh_token)
        await other.sign_out()
        await expire(client)
        with pytest.raises(AuthApiError):
            await client.get_session()
        assert events == [("SIGNED_OUT", "session_expired")]
        assert await client.get_session() is None


async def test_a_session_that_the_server_forgot_is_removed(auth_service: AuthService) -> None:
    async with opened(auth_service) as client, opened(auth_service) as other:
        first = await signed_up(client)
        events = Events(client)
        await other.set_session(first.access_token, first.refresh_token)
        await other.sign_out()
        with pytest.raises(AuthApiError) as refused:
            await client.get_user()
        assert refused.value.code == "session_not_found"
        assert events == [("SIGNED_OUT", "session_expired")]
        assert await client.get_user() is None


@pytest.mark.capability("auth.session.sign_out_reason")
async def test_a_listener_can_tell_why_a_user_was_signed_out(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        events = Events(client)
        await signed_up(client)
        await client.sign_out()
        await signed_up(client)
        await set_item(client._storage, client._storage_key, "{}")
        assert await client.get_session() is None
        await signed_up(client)
        stored = await client.get_session()
        assert stored is not None
        await client.admin.sign_out(stored.access_token)
        await expire(client)
        with pytest.raises(AuthApiError):
            await client.get_session()
        assert [event for event in events if event[0] == "SIGNED_OUT"] == [
            ("SIGNED_OUT", "user_initiated"),
            ("SIGNED_OUT", "session_missing"),
            ("SIGNED_OUT", "session_expired"),
        ]
        assert all(reason is None for name, reason in events if name != "SIGNED_OUT")


# What happens while a refresh is on its way


class Gate:
    """Lets the answers of refreshes (or of other calls, by their path's end) pass only once it is opened."""

    def __init__(self, wanted: str = "token") -> None:
        self._wanted = wanted
        self.reached, self.open = AEvent(), AEvent()

    async def __call__(self, response: httpx.Response) -> None:
        if response.request.url.path.endswith(self._wanted) and b"password" not in response.request.content:
            self.reached.set()
            await self.open.wait()

    def client(self) -> httpx.AsyncClient:
        """A client of httpx, as an app may bring one along."""
        return httpx.AsyncClient(event_hooks={"response": [self]})


async def do(work: object) -> None:
    """Run in the background what may fail."""
    await together(work)  # type: ignore[arg-type]


async def test_a_sign_out_while_a_refresh_is_on_its_way_stays_a_sign_out(auth_service: AuthService) -> None:
    gate = Gate()
    async with gate.client() as http, opened(auth_service, http_client=http) as client:
        await signed_up(client)
        events = Events(client)
        await expire(client)
        refresh = aspawn(do, client.get_session, name="refresh")
        await until(gate.reached.is_set)
        await client._remove_session()
        gate.open.set()
        await until(lambda: not is_running(refresh))
        assert await client.get_session() is None
        assert events == []


async def test_another_sign_in_while_a_refresh_is_on_its_way_stays(auth_service: AuthService) -> None:
    gate = Gate()
    async with gate.client() as http, opened(auth_service, http_client=http) as client:
        await signed_up(client)
        await expire(client)
        refresh = aspawn(do, client.get_session, name="refresh")
        await until(gate.reached.is_set)
        second = await signed_up(client)
        gate.open.set()
        await until(lambda: not is_running(refresh))
        assert await client.get_session() == second


async def test_a_change_of_the_user_does_not_bring_back_tokens_that_were_replaced(auth_service: AuthService) -> None:
    gate = Gate("user")
    async with gate.client() as http, opened(auth_service, http_client=http) as client:
        await signed_up(client)
        change = aspawn(do, partial(client.update_user, {"data": {"colour": "green"}}), name="change")
        await until(gate.reached.is_set)
        refreshed = (await client.refresh_session()).session
        assert refreshed is not None
        gate.open.set()
        await until(lambda: not is_running(change))
        found = await client.get_session()
        assert found is not None
        assert found.refresh_token == refreshed.refresh_token
        assert found.user.user_metadata["colour"] == "green"


# [async]
def is_running(work: asyncio.Task[None]) -> bool:
    """Whether it goes on."""
    return not work.done()


async def test_a_caller_that_gives_up_leaves_the_refresh_running(auth_service: AuthService) -> None:
    gate = Gate()
    async with gate.client() as http, opened(auth_service, http_client=http) as client:
        first = await signed_up(client)
        await expire(client)
        caller = asyncio.create_task(client.get_session())
        await gate.reached.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        gate.open.set()
        await until(lambda: client._known is not None and client._known.refresh_token != first.refresh_token)
        assert await client.get_user() is not None


# [/async]
# [sync] def is_running(work: threading.Thread) -> bool:
# [sync]     """Whether it goes on."""
# [sync]     return work.is_alive()


# The options of the call that happened to ask


async def test_a_caller_waits_for_a_refresh_no_longer_than_its_own_time(
    auth_service: AuthService, network: Network
) -> None:
    async with opened(auth_service, url=network.url) as client:
        first = await signed_up(client)
        await expire(client)
        network.breaks(Break.HANG)
        with call_options(timeout=0.2), pytest.raises(AuthRetryableError) as late:
            await client.get_session()
        assert isinstance(late.value.__cause__, DeadlineExceeded)  # its own time, not that of the request
        # [async]
        await until(lambda: network.hanging > 0)
        assert client._failures == 0
        network.cut_hanging()
        # [/async]
        await until(lambda: client._failures > 0)
        network.heals()
        found = await client.get_session()
        assert found is not None
        assert found.refresh_token != first.refresh_token


async def test_a_refresh_does_not_take_the_idempotency_key_of_a_write_along(auth_service: AuthService) -> None:
    seen: list[httpx.Headers] = []

    async def look(request: httpx.Request) -> None:
        seen.append(request.headers)

    async with (
        AsyncSession(event_hooks={"request": [look]}) as http,
        opened(auth_service, http_client=http) as client,
    ):
        await signed_up(client)
        await expire(client)
        with call_options(idempotency_key="of-an-insert"):
            await client.get_session()
        assert len(seen) == 2
        assert "idempotency-key" not in seen[-1]


# Subscribers


@pytest.mark.capability("auth.session.subscribe_auth_events")
async def test_subscribers_hear_of_everything_until_they_unsubscribe(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        events = Events(client)
        heard: list[str] = []
        subscription = client.on_auth_state_change(lambda event, session: heard.append(event))
        session = await signed_up(client)
        subscription.unsubscribe()
        subscription.unsubscribe()
        await client.update_user({"data": {"colour": "green"}})
        await client.refresh_session()
        await client.sign_out()
        assert heard == ["SIGNED_IN"]
        assert events.names == ["SIGNED_IN", "USER_UPDATED", "TOKEN_REFRESHED", "SIGNED_OUT"]
        assert events.sessions[0] == session
        assert events.sessions[1] is not None
        assert events.sessions[1].user.user_metadata["colour"] == "green"
        assert events.sessions[-1] is None


async def test_a_subscriber_that_raises_breaks_nothing(
    auth_service: AuthService, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(auth_service) as client:
        client.on_auth_state_change(lambda event, session: [][1])
        events = Events(client)
        session = await signed_up(client)
        assert await client.get_session() == session
        assert events.names == ["SIGNED_IN"]
        assert "a subscriber of auth events raised" in caplog.text
        assert session.access_token not in caplog.text


async def test_a_subscriber_may_use_the_client(auth_service: AuthService) -> None:
    async with opened(auth_service) as client:
        seen: list[object] = []

        async def look(event: str, session: Session | None) -> None:
            seen.append(await client.get_session())
            seen.append(await client.get_user())

        client.on_auth_state_change(look)
        session = await signed_up(client)
        await until(lambda: len(seen) == 2)
        assert seen[0] == session
        await client.refresh_session()
        await until(lambda: len(seen) == 4)


# By hand


@pytest.mark.capability("auth.session.set_session")
async def test_tokens_from_elsewhere_make_a_session(auth_service: AuthService) -> None:
    async with opened(auth_service) as client, opened(auth_service) as other:
        events = Events(other)
        first = await signed_up(client)
        answer = await other.set_session(first.access_token, first.refresh_token)
        assert answer.user is not None
        assert (answer.user.id, answer.user.email) == (first.user.id, first.user.email)
        assert answer.session is not None
        assert abs((answer.session.expires_at or 0) - (first.expires_at or 0)) <= 1
        assert events.names == ["SIGNED_IN"]


@pytest.mark.parametrize("given", [{}, {"refresh_token": ""}])
async def test_a_refresh_without_a_session_is_an_error(auth_service: AuthService, given: dict[str, str]) -> None:
    async with opened(auth_service) as client:
        with pytest.raises(AuthSessionMissingError):
            await client.refresh_session(**given)


@pytest.mark.capability("auth.session.sign_out")
async def test_a_sign_out_ends_as_much_as_its_scope_says(auth_service: AuthService) -> None:
    async with opened(auth_service) as client, opened(auth_service) as other, opened(auth_service) as third:
        address = (await signed_up(client)).user.email or ""
        for one in (other, third):
            await one.sign_in_with_password({"email": address, "password": "correct horse battery"})
        await client.sign_out({"scope": "others"})
        assert await client.get_user() is not None
        with pytest.raises(AuthApiError):
            await other.get_user()
        await third.sign_in_with_password({"email": address, "password": "correct horse battery"})
        await third.sign_out({"scope": "local"})
        assert await third.get_session() is None
        assert await client.get_user() is not None
        await third.sign_in_with_password({"email": address, "password": "correct horse battery"})
        await client.sign_out()
        with pytest.raises(AuthApiError):
            await third.get_user()


async def test_a_sign_out_that_does_not_reach_the_server_keeps_the_session_unless_it_is_local(
    auth_service: AuthService,
) -> None:
    async with opened(auth_service) as client:
        await signed_up(client)
        client.admin._url = "http://127.0.0.1:1"
        with call_options(retries=0):
            with pytest.raises(AuthRetryableError):
                await client.sign_out()
            assert await client.get_session() is not None
            with pytest.raises(AuthRetryableError):
                await client.sign_out({"scope": "local"})
        assert await client.get_session() is None


async def test_a_client_given_by_the_app_stays_open(auth_service: AuthService) -> None:
    async with httpx.AsyncClient() as http:
        async with AsyncGoTrueClient(url=auth_service.url, headers=auth_service.anon_headers, http_client=http):
            pass
        assert not http.is_closed
