"""The mailbox as an app: its API, its page, and a guard before both."""

from __future__ import annotations

import ipaddress

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isobase_deploy.mailbox.api import MailApi
from isobase_deploy.mailbox.page import page_routes
from isobase_deploy.mailbox.store import MailStore

__all__ = ["create_mailbox_app"]

_SECURITY_HEADERS = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "cache-control": "no-store",
}


def create_mailbox_app(store: MailStore, *, max_message_bytes: int, hosts: tuple[str, ...] = ()) -> ASGIApp:
    """The app over ``store``; it takes mail of up to ``max_message_bytes`` by HTTP. ``hosts``: more names to answer to."""
    health = [Route("/livez", _health), Route("/readyz", _health)]
    api = MailApi(store, max_message_bytes=max_message_bytes)
    return _Guard(Starlette(routes=[*api.routes, *page_routes(store), *health]), hosts)


async def _health(request: Request) -> Response:
    return PlainTextResponse("ok")


class _Guard:
    """Keeps pages of other sites out: they may name this machine by a domain of their own (DNS rebinding)."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._answers_to(_name_of(Headers(scope=scope).get("host", ""))):
            told = "403 the mailbox does not answer to this name; ISOBASE_MAILBOX__HOSTS can add it"
            await PlainTextResponse(told, 403)(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _answers_to(self, name: str) -> bool:
        """Whether a name can only mean this machine or its own network: an address, or a name outside the public DNS."""
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return bool(name) and ("." not in name or name.endswith((".localhost", ".internal", ".local")))
        return True


def _name_of(host: str) -> str:
    """A Host header without its port, in lower case."""
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    return name.lower().rstrip(".")
