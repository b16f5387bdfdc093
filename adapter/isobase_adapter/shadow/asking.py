"""Asks the sides the same again, for shadow reads: connections of their own, on the runtime's event loop."""

from __future__ import annotations

import re
from collections.abc import Collection

import httpx

from isobase_adapter.capabilities import Capability
from isobase_adapter.http.addresses import Addresses
from isobase_adapter.http.bodies import content_of
from isobase_adapter.shadow.answers import ReadAnswer
from isobase_adapter.shadow.running import Read, Shadow
from isobase_adapter.sides import Side

__all__ = ["ShadowReads"]

CONNECTIONS = httpx.Limits(max_connections=8, max_keepalive_connections=4)
ESTIMATES = re.compile(r"count=(planned|estimated)")
LEFT_OUT = frozenset({b"if-none-match", b"if-modified-since", b"traceparent", b"tracestate"})


class ShadowReads:
    """Hands reads that were answered to ``Shadow``, with what it takes to ask them again.

    addresses: where the sides are. shadow: compares. Used from any thread; closed on the runtime's loop.
    """

    def __init__(self, addresses: Addresses, shadow: Shadow) -> None:
        """Connect to nothing yet."""
        self._addresses = addresses
        self._shadow = shadow
        self._client: httpx.AsyncClient | None = None

    def wants(self, request: httpx.Request, capability: Capability) -> bool:
        """Whether the answer to this read is to be compared: the sample's choice. Query plans never are, nor what
        sends a body that cannot be sent twice; a function that changes nothing is asked by POST.
        """
        return (
            (
                request.method in ("GET", "HEAD")
                or (request.method == "POST" and isinstance(request.stream, httpx.ByteStream))
            )
            and "vnd.pgrst.plan" not in request.headers.get("accept", "")
            and self._shadow.wants(capability)
        )

    def samples(self, capability: Capability) -> bool:
        """Whether a read that is no request of rows is to be compared: the sample's choice."""
        return self._shadow.wants(capability)

    def answered(
        self,
        request: httpx.Request,
        response: httpx.Response | None,
        capability: Capability,
        answering: Side,
        embeds: Collection[Capability] = (),
        *,
        content: bytes | None = None,
    ) -> None:
        """Compare an answer that was read whole; never waits and never fails.

        response: None where the answering side is asked for it in the background. content: the request's body, where it
        asks by one.
        """
        again = httpx.Request(
            request.method,
            request.url,
            headers=[(name, value) for name, value in request.headers.raw if name.lower() not in LEFT_OUT],
            content=content,
        )

        async def ask(side: Side) -> ReadAnswer:
            if self._client is None:
                self._client = httpx.AsyncClient(limits=CONNECTIONS, follow_redirects=False)
            said = await self._client.send(self._addresses.addressed(again, side))
            return ReadAnswer(said.status_code, _lowered(said), said.content)

        place = self._addresses.place(request.url)
        self._shadow.offer(
            Read(
                capability,
                request.method,
                f"/{place[1]}" if place is not None else request.url.path,
                tuple(request.url.params.multi_items()),
                answering,
                ask,
                has_range="range" in request.headers,
                has_exact_count=not ESTIMATES.search(request.headers.get("prefer", "")),
                touches=frozenset((capability, *embeds)),
            ),
            None if response is None else ReadAnswer(response.status_code, _lowered(response), content_of(response)),
        )

    async def close(self) -> None:
        """End what runs and close the connections."""
        await self._shadow.close()
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _lowered(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
