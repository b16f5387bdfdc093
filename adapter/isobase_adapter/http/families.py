"""Where auth, storage and realtime plug in what is their own: a family handles the calls of one service.

A family is asked only in stages in which both sides matter; ``off`` and ``complete`` go straight to their side. Its
``flow`` is a generator (``isobase_adapter.steps``), driven by the sync and the async transport alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import httpx

from isobase_adapter.contracts import Writer
from isobase_adapter.http.classify import Call, FamilyName
from isobase_adapter.stages import ReadRoute, Stage, WriteRoute, read_route, write_route
from isobase_adapter.steps import Flow

__all__ = ["Acted", "Family"]


@dataclass(slots=True, frozen=True)
class Acted:
    """Under what a call is handled: its capability's stage for its user, and who is written first for everybody."""

    stage: Stage
    writer: Writer
    user: str | None = None
    """The user's id by the call's token (not verified: the sides do that), None for api keys."""

    @property
    def read_route(self) -> ReadRoute:
        """How a read goes."""
        return read_route(self.stage, self.writer.side)

    @property
    def write_route(self) -> WriteRoute:
        """How a write goes."""
        return write_route(self.stage, self.writer.side)


class Family(Protocol):
    """Handles one service's calls while both sides matter."""

    @property
    def name(self) -> FamilyName:
        """Whose calls it handles."""
        ...

    def flow(self, request: httpx.Request, call: Call, acted: Acted) -> Flow[httpx.Response]:
        """Handle a call: yield ``Send``, ``OnRuntime`` and ``Wait`` steps, return the answer for the app.

        ``request`` is addressed to Supabase, as the app wrote it; its body may be a stream that can be read once
        (``request.stream``; ``isinstance(request.stream, httpx.ByteStream)``: it can be sent again).
        Errors that it raises reach the app; those of ``httpx`` are mapped as the official client maps them.
        """
        ...
