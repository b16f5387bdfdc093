"""Whether an upload whose answer was lost arrived all the same."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx

from isobase._acompat import ablocking, asleep
from isobase.storage._async._requests import AsyncObjectRequests
from isobase.storage._source import SeekableSource, Tally
from isobase.storage._transfer import Attempts, is_lost, is_passing_status
from isobase.storage._url import object_parts
from isobase.storage.exceptions import StorageApiError

__all__ = ["landed"]


async def landed(
    requests: AsyncObjectRequests, key: str, content: SeekableSource | Tally, attempts: Attempts
) -> dict[str, Any] | None:
    """Give what the server knows of the object ``key`` if it holds exactly ``content``, else None.

    The etag settles it mostly; where it is no checksum of the bytes (parts, encryption) and the size is right, the object
    is read and compared. None too where the caller may not see the object. Where the look itself is lost it is tried
    again, and at last raises what it met: nothing is known then.
    """
    if isinstance(content, Tally) and not content.is_whole:
        return None
    while True:
        try:
            return await _look(requests, key, content, attempts)
        except StorageApiError as error:
            if is_definite(error):
                return None
            if not attempts.may_go_on:
                raise
        except httpx.TransportError as error:
            if not (is_lost(error) and attempts.may_go_on):
                raise
        await asleep(attempts.pause())


def is_definite(error: StorageApiError) -> bool:
    """Whether an answer is about the object or the caller, and not about the state that the server is in."""
    statuses = (str(error.http_status or ""), str(error.status))
    return not any(status.startswith("5") or is_passing_status(status) for status in statuses)


async def _look(
    requests: AsyncObjectRequests, key: str, content: SeekableSource | Tally, attempts: Attempts
) -> dict[str, Any] | None:
    with attempts.once():
        info = await requests.info(key)
    if info.get("size") != (content.size if isinstance(content, SeekableSource) else content.sent):
        return None
    checksum = await ablocking(content.md5) if isinstance(content, SeekableSource) else content.md5
    etag = str(info.get("etag", "")).strip('"')
    if etag == checksum:
        return info
    with attempts.once():
        return info if await _md5_of_object(requests, key) == checksum else None


async def _md5_of_object(requests: AsyncObjectRequests, key: str) -> str:
    url = requests._base_url.joinpath("object", requests.id, *object_parts(key))
    digest = hashlib.md5(usedforsecurity=False)
    async with requests._client.stream("GET", str(url), headers=requests._headers) as response:
        if response.is_success:
            async for block in response.aiter_bytes():
                digest.update(block)
    return digest.hexdigest()
