"""Calling a hook by HTTP, signed as Standard Webhooks says (https://www.standardwebhooks.com).

Source of limits, retries and messages: supabase/auth internal/hooks/hookshttp; contracts auth 2.19. Redirects are not
followed: the signed input is for the configured address alone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from isobase_services.auth.errors import AuthError, ErrorCode, bad_request, unprocessable
from isobase_services.auth.hooks.answers import failed, read_answer
from isobase_services.auth.http_client import AnswerTooLong, HttpClient, read_limited
from isobase_services.auth.models import JsonObject

if TYPE_CHECKING:
    from isobase_services.auth.hooks.targets import HttpTarget

__all__ = ["HttpCaller", "signature"]

MAX_ANSWER_BYTES = 200 * 1024
MAX_TRIES = 3


def signature(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> str:
    """The header ``webhook-signature``: for each key ``v1,`` and the base64 of the HMAC-SHA256."""
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    # Divided by a space as the standard has it; upstream writes ", ", which its own libraries do not find again.
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


class HttpCaller:
    """Calls URLs, with connections kept for the next call. ``timeout_s`` bounds one call with all its tries."""

    def __init__(self, *, timeout_s: float, retry_pause_s: float) -> None:
        self._timeout_s = timeout_s
        self._retry_pause_s = retry_pause_s
        self._client = HttpClient(timeout_s)

    async def call(self, target: HttpTarget, given: JsonObject) -> JsonObject:
        """Send ``given`` and return the answer's object, empty for 204.

        Raises 422 hook_timeout, hook_timeout_after_retry or hook_payload_over_size_limit, 400
        hook_payload_invalid_content_type, 500 for other statuses, and whatever error the hook names.
        """
        body = json.dumps(given, separators=(",", ":"), ensure_ascii=False).encode()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._try(target, body)
        except TimeoutError:
            raise self._too_late() from None

    async def _try(self, target: HttpTarget, body: bytes) -> JsonObject:
        import httpx

        for number in range(1, MAX_TRIES + 1):
            try:
                answer = await self._once(target, body)
            except httpx.TimeoutException:
                raise self._too_late() from None
            except AnswerTooLong:
                raise unprocessable(
                    ErrorCode.HOOK_PAYLOAD_OVER_SIZE_LIMIT,
                    f"Payload size exceeded size limit of {MAX_ANSWER_BYTES} bytes",
                ) from None
            except (httpx.HTTPError, httpx.InvalidURL):
                if number == MAX_TRIES:
                    raise unprocessable(
                        ErrorCode.HOOK_TIMEOUT_AFTER_RETRY, "Failed to reach hook after maximum retries"
                    ) from None
                await asyncio.sleep(self._retry_pause_s)
                continue
            if answer is not None:
                return answer
        raise failed("Service currently unavailable due to hook")

    async def _once(self, target: HttpTarget, body: bytes) -> JsonObject | None:
        """One request; None where the hook asks to be called again."""
        message_id, timestamp_s = str(uuid4()), int(time.time())
        headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": signature(target.keys, message_id, timestamp_s, body),
        }
        async with self._client.stream("POST", target.uri, content=body, headers=headers) as answer:
            match answer.status_code:
                case 204:
                    return {}
                case 200 | 202:
                    _check_content_type(answer.headers.get("content-type"))
                    return read_answer(await read_limited(answer, MAX_ANSWER_BYTES))
                case 429 | 503:
                    if "retry-after" in answer.headers:
                        return None
                    raise failed("Service currently unavailable due to hook")
                case 400:
                    raise failed("Invalid payload sent to hook")
                case 401:
                    raise failed("Hook requires authorization token")
                case status:
                    raise failed(f"Unexpected status code returned from hook: {status}")

    def _too_late(self) -> AuthError:
        return unprocessable(
            ErrorCode.HOOK_TIMEOUT, f"Failed to reach hook within maximum time of {self._timeout_s:f} seconds"
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()


def _check_content_type(content_type: str | None) -> None:
    if not content_type:
        raise bad_request(
            ErrorCode.HOOK_PAYLOAD_INVALID_CONTENT_TYPE, "Invalid Content-Type: Missing Content-Type header"
        )
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise bad_request(
            ErrorCode.HOOK_PAYLOAD_INVALID_CONTENT_TYPE,
            f"Invalid JSON response. Received content-type: {content_type}",
        )
