"""An upload in one request. A lost connection is tried again where the file can be read again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from isobase._acompat import asleep
from isobase.storage._async._body import piece_of, stream_of
from isobase.storage._async._landed import landed
from isobase.storage._async._requests import AsyncObjectRequests
from isobase.storage._source import SeekableSource, Source, Tally
from isobase.storage._transfer import WHOLE_RETRIES, Attempts, is_lost, is_passing_status
from isobase.storage.exceptions import StorageApiError
from isobase.storage.types import Progress, RequestMethod

__all__ = ["AsyncSingleUpload"]

CONFLICT = "409"


@dataclass(slots=True)
class AsyncSingleUpload:
    """One upload, tried until it is answered.

    An attempt that was lost may have made the object; so where a later one finds it there, or none can follow, the object is
    looked at before anything is said of failure.
    """

    requests: AsyncObjectRequests
    method: RequestMethod
    path: list[str]
    query: Mapping[str, str] | None
    headers: Mapping[str, str]
    source: Source
    on_progress: Progress | None
    tally: Tally = field(default_factory=Tally)

    async def run(self, key: str) -> Mapping[str, Any]:
        """Send it; gives the server's answer (``Key``, ``Id``)."""
        attempts = Attempts(WHOLE_RETRIES)
        is_open = False  # whether an attempt may have made the object
        while True:
            try:
                with attempts.once():
                    return await self._send()
            except StorageApiError as error:
                if is_open and str(error.status) == CONFLICT:
                    if (found := await self._found(key, attempts)) is not None:
                        return found
                    raise
                if not is_passing_status(error.http_status or 0):
                    raise
                is_open = True
                if not self._may_again(attempts):
                    raise
            except httpx.TransportError as error:
                if not is_lost(error):
                    raise
                is_open = is_open or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if not self._may_again(attempts):
                    if is_open:
                        with contextlib.suppress(
                            StorageApiError, httpx.TransportError
                        ):  # then this is all there is to say
                            if (found := await self._found(key, attempts)) is not None:
                                return found
                    raise
            await asleep(attempts.pause())

    def _may_again(self, attempts: Attempts) -> bool:
        return isinstance(self.source, SeekableSource) and attempts.may_go_on

    async def _send(self) -> Mapping[str, Any]:
        headers = dict(self.headers)
        if self.source.size is not None:
            headers["content-length"] = str(self.source.size)
        response = await self.requests._request(
            self.method, self.path, headers=headers, query_params=self.query, content=self._content()
        )
        return cast("Mapping[str, Any]", response.json())

    def _content(self) -> bytes | AsyncIterator[bytes]:
        report = None if self.on_progress is None else self._report
        if not isinstance(self.source, SeekableSource):
            return stream_of(self.source, self.tally, report)
        if report is None and self.source.is_in_memory:
            return bytes(self.source.read(0, self.source.size))
        return piece_of(self.source, 0, self.source.size, report)

    def _report(self, sent: int) -> None:
        if self.on_progress is not None:
            self.on_progress(sent, self.source.size)

    async def _found(self, key: str, attempts: Attempts) -> Mapping[str, Any] | None:
        """Give the answer that was lost, where the object is there with these bytes. Raises what a look without an
        answer meets.
        """
        content = self.source if isinstance(self.source, SeekableSource) else self.tally
        info = await landed(self.requests, key, content, attempts)
        return None if info is None else {"Key": f"{self.requests.id}/{key}", "Id": info.get("id")}
