"""One socket of the simple face: its token, its actions in order, and the channels it has joined on the shared core.

It is a connection like those of the Phoenix face (channels, policies, presence, limits, the end) that reads actions instead
of messages and answers them itself. What each action does is in ``acts``. Source: contracts/realtime.md section 4.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque

from isobase_platform.caller import Caller, RequestFacts
from isobase_platform.errors import BadRequest, Forbidden, IsobaseError, TokenError, TokenRefusal, TooManyRequests
from isobase_services.realtime.core.access import Access, AccessRefused, grant_access
from isobase_services.realtime.core.rates import CallWindow
from isobase_services.realtime.session.channel import Channel
from isobase_services.realtime.session.connection import Connection
from isobase_services.realtime.session.hub import Hub
from isobase_services.realtime.simple.actions import Action, Ping, Pong, RequestId, SignIn, parse_action, read_frame
from isobase_services.realtime.simple.acts import Acts
from isobase_services.realtime.simple.codec import SIMPLE
from isobase_services.realtime.simple.desk import RoomDesk
from isobase_services.realtime.simple.frames import PING, error_frame, ok_frame
from isobase_services.realtime.wire.frames import text_frame
from isobase_services.realtime.wire.messages import ClientMessage, JsonObject, Message, Ref, dump

__all__ = ["CLOSE_POLICY", "SimpleConnection"]

CLOSE_POLICY = 1008
RATE_WINDOW_S = 10.0
CONFIRM_TOKEN_INTERVAL_S = 300.0
ASK_TIMEOUT_S = 15.0
MAX_REQUEST_ID_LENGTH_CHARS = 128

_log = logging.getLogger("isobase.realtime")


class SimpleConnection(Connection):
    """A socket that was accepted; it may do nothing before ``sign_in`` has been given a token that verifies."""

    __slots__ = (
        "_acts",
        "_asked",
        "_deadline",
        "_identifier",
        "_lanes",
        "_loop",
        "_numbers",
        "_pinger",
        "_rate",
        "_waiting",
        "access",
        "settings",
    )

    def __init__(self, hub: Hub, desk: RoomDesk, request: RequestFacts, identifier: str) -> None:
        super().__init__(hub, SIMPLE, "", request)
        self.settings = hub.settings.rooms
        self.access: Access | None = None
        self._identifier = identifier
        self._acts = Acts(self, desk)
        self._lanes: dict[str, deque[tuple[str, RequestId, Action]]] = {}
        self._waiting = 0
        self._rate = CallWindow(int(self.settings.max_actions_per_s * RATE_WINDOW_S), RATE_WINDOW_S)
        self._asked: dict[Ref, asyncio.Future[tuple[str, str]]] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.call_later(self.settings.sign_in_timeout_s, self._sign_in_is_late)
        self._pinger = self._loop.call_later(self.settings.ping_interval_s, self._ping)

    @property
    def caller(self) -> Caller:
        """Whose rights count now. Raises ``Forbidden`` before there is a token."""
        if self.access is None:
            raise Forbidden("Send your token first", code="sign_in_required", hint='{"action":"connect","token":"..."}')
        return self.access.caller

    # -- the token ----------------------------------------------------------------------------------------------------

    def sign_in(self, token: str) -> str:
        """Act by ``token`` from now on, in every room and channel; returns the answer as JSON text.

        Raises ``TokenError`` for a token that does not verify, and ``Forbidden`` for another user's: rooms know a socket by
        the user who joined them.
        """
        try:
            access = grant_access(self.hub.verifier, self.hub.api_keys.token_for(token) or token, self.request)
        except AccessRefused as error:
            raise TokenError(error.message, TokenRefusal.CLAIMS) from error
        old = self.access
        if old is not None and (old.caller.user_id, old.caller.role) != (access.caller.user_id, access.caller.role):
            raise Forbidden("The token is another user's", code="other_user", hint="Open another socket")
        self.access = access
        self.replace_token(access.token)
        self._watch_token()
        for topic in list(self.channels):
            payload = {"access_token": access.token}
            self.handle(ClientMessage(join_ref=None, ref=None, topic=topic, event="access_token", payload=payload))
        return dump({"user": access.caller.user_id, "role": access.caller.role, "expiresAt": access.expires_at_s})

    def _watch_token(self) -> None:
        assert self.access is not None
        self._deadline.cancel()
        left_s = max(self.access.expires_at_s - self.wall_clock(), 0.0) + 0.001
        self._deadline = self._loop.call_later(min(CONFIRM_TOKEN_INTERVAL_S, left_s), self.confirm_token)

    def confirm_tokens(self) -> None:
        """See ``Connection.confirm_tokens``; the socket's own token too."""
        self.confirm_token()
        super().confirm_tokens()

    def confirm_token(self) -> None:
        """Verify the token again: it may have expired, or its key may be gone. The socket is told, then closed."""
        if self.access is None or self.close_code is not None:
            return
        try:
            grant_access(self.hub.verifier, self.access.token, self.request)
        except AccessRefused as error:
            failure = IsobaseError(error.message, code="token_expired", status=401)
            self.say(error_frame("error", None, failure, self._identifier))
            self.close(CLOSE_POLICY)
            return
        self._watch_token()

    def _sign_in_is_late(self) -> None:
        self.say(
            error_frame("error", None, Forbidden("No token came in time", code="sign_in_required"), self._identifier)
        )
        self.close(CLOSE_POLICY)

    # -- actions ------------------------------------------------------------------------------------------------------

    def receive(self, content: Message) -> None:
        """Handle one frame, without waiting: what needs SQL waits for its turn in the lane of its room."""
        self.received_at_s = self._loop.time()
        if self.close_code is not None:
            return
        name, request_id = "error", None
        try:
            if len(content) > self.settings.max_frame_bytes:
                raise BadRequest(
                    f"A frame may have {self.settings.max_frame_bytes} bytes", code="frame_too_large", status=413
                )
            value = read_frame(content)
            request_id = _request_id(value.get("requestId"))
            action = parse_action(value)
            name = str(value["action"])
            self._take(name, request_id, action)
        except IsobaseError as error:
            self.say(error_frame(name, request_id, error, self._identifier))

    def _take(self, name: str, request_id: RequestId, action: Action) -> None:
        match action:
            case Pong():
                return
            case Ping():
                self.say(ok_frame("pong", request_id))
                return
        if not self._rate.take():
            raise TooManyRequests("Too many actions, slow down", code="rate_limited")
        if isinstance(action, SignIn):
            self.say(ok_frame(name, request_id, self.sign_in(action.token.get_secret_value())))
            return
        _ = self.caller
        if self._waiting >= self.settings.max_waiting_actions:
            raise TooManyRequests("Too many actions are waiting", code="too_many_waiting")
        self._waiting += 1
        lane = self._lanes.get(action.lane)
        if lane is not None:
            lane.append((name, request_id, action))
            return
        self._lanes[action.lane] = deque([(name, request_id, action)])
        self.spawn(self._work_off(action.lane))

    async def _work_off(self, lane_name: str) -> None:
        lane = self._lanes[lane_name]
        try:
            while lane:
                name, request_id, action = lane.popleft()
                self.say(await self._answer_to(name, request_id, action))
                self._waiting -= 1
        finally:
            self._lanes.pop(lane_name, None)

    async def _answer_to(self, name: str, request_id: RequestId, action: Action) -> str:
        try:
            return ok_frame(name, request_id, await self._acts.do(action))
        except IsobaseError as error:
            return error_frame(name, request_id, error, self._identifier)
        except Exception:  # noqa: BLE001  whatever it is: the client waits for an answer
            _log.exception("an action failed", extra={"action": name, "request_id": self._identifier})
            return error_frame(name, request_id, IsobaseError("An unexpected error happened"), self._identifier)

    def say(self, text: str) -> None:
        """Send a frame of JSON text to this socket alone."""
        self.put(text_frame(text))

    # -- the core's channels ------------------------------------------------------------------------------------------

    async def ask(self, topic: str, event: str, payload: JsonObject) -> tuple[str, str]:
        """Send a message to the channel ``topic`` of the core and wait for its reply: (status, response as JSON text).

        Raises ``IsobaseError`` 504 when none comes within ``ASK_TIMEOUT_S``.
        """
        ref = str(next(self._numbers))
        answered: asyncio.Future[tuple[str, str]] = self._loop.create_future()
        self._asked[ref] = answered
        try:
            self.handle(ClientMessage(join_ref=ref, ref=ref, topic=topic, event=event, payload=payload))
            async with asyncio.timeout(ASK_TIMEOUT_S):
                return await answered
        except TimeoutError as error:
            raise IsobaseError("The channel did not answer in time", code="timeout", status=504) from error
        finally:
            del self._asked[ref]

    def answer(self, *, join_ref: Ref, ref: Ref, topic: str, status: str, response: str) -> None:
        """See ``Connection.answer``: replies are awaited by actions and never sent as they are."""
        answered = self._asked.get(ref)
        if answered is not None and not answered.done():
            answered.set_result((status, response))

    def leave(self, topic: str) -> bool:
        """Leave a channel without a word; False where it was not joined."""
        channel = self.channels.get(topic)
        if channel is None:
            return False
        channel.end()
        self.forget(channel)
        return True

    def forget(self, channel: Channel) -> None:
        """See ``Connection.forget``."""
        self._acts.forget(channel.wire_topic)
        super().forget(channel)

    # -- life ---------------------------------------------------------------------------------------------------------

    def announce_disconnect(self) -> None:
        """Tell the client that the server is about to close the socket, and that it may come again."""
        self.say(dump({"action": "restarting"}))

    def _ping(self) -> None:
        if self.close_code is None:
            self.say(PING)
            # Browsers give scripts no way to answer a ping of WebSocket's own, and clients need not answer this one: that the
            # connection takes it is sign enough of life.
            self.received_at_s = self._loop.time()
            self._pinger = self._loop.call_later(self.settings.ping_interval_s, self._ping)

    def ended(self) -> None:
        """See ``Connection.ended``."""
        self._deadline.cancel()
        self._pinger.cancel()
        self._acts.ended()
        super().ended()


def _request_id(value: object) -> RequestId:
    """What the client calls its action. Raises ``BadRequest`` for what is neither a short text nor a whole number."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if value is None or is_number or (isinstance(value, str) and len(value) <= MAX_REQUEST_ID_LENGTH_CHARS):
        return value  # type: ignore[return-value]
    raise BadRequest("requestId must be a short text or a whole number", code="invalid_action")
