"""A small HTTP server on the loopback that stands for what auth calls: hooks, CAPTCHA providers, leaked-password lists."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from tests.plugins.listening import listening

HOOK_KEY = b"a key of thirty-two bytes, or so"
HOOK_SECRET = f"v1,whsec_{base64.b64encode(HOOK_KEY).decode()}"


@dataclass(slots=True, frozen=True)
class Call:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body's object."""
        value: dict[str, Any] = json.loads(self.body)
        return value


Answer: TypeAlias = Callable[[Call], Response]


@dataclass(slots=True)
class Receiver:
    """Where the server listens, what came in, and what it answers."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    answer: Answer = lambda call: JSONResponse({})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        call = Call(request.url.path, dict(request.headers), await request.body())
        self.calls.append(call)
        await self.answer(call)(scope, receive, send)


@asynccontextmanager
async def receiving(answer: Answer | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port; ``answer`` makes what it answers, an empty JSON object where none is given."""
    receiver = Receiver()
    if answer is not None:
        receiver.answer = answer
    async with listening(receiver) as url:
        receiver.url = url
        yield receiver
