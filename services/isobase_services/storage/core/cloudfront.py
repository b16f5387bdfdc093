"""Invalidations of Amazon CloudFront: what a purge means to a distribution whose origin is the gateway.

Source: the CloudFront developer guide, "Invalidate files": a path may end in ``*``, which also covers query strings.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from isobase_platform.config_storage.cdn import CdnSettings

__all__ = ["CloudFront", "CloudFrontUnavailable", "invalidation_paths"]

ORIGINALS = "/storage/v1/object/public"
RENDERED = "/storage/v1/render/image/public"


class CloudFrontUnavailable(Exception):
    """CloudFront took no invalidation. The message names the kind of failure, never a credential."""


def invalidation_paths(bucket: str | None, key: str | None, *, only_transformations: bool) -> tuple[str, ...]:
    """The paths of what a purge drops: an object and whatever its query string says, a bucket, or all."""
    place = "" if bucket is None else f"/{quote(bucket)}"
    place += "/*" if key is None else f"/{quote(key)}*"
    return tuple(f"{root}{place}" for root in ((RENDERED,) if only_transformations else (ORIGINALS, RENDERED)))


class CloudFront:
    """One distribution. The client is made on first use; its credentials are those that the AWS environment gives."""

    def __init__(self, settings: CdnSettings) -> None:
        self._settings = settings
        self._client: Any = None

    async def invalidate(self, paths: Sequence[str]) -> None:
        """Ask for an invalidation; CloudFront carries it out within minutes. Raises ``CloudFrontUnavailable``."""
        await asyncio.to_thread(self._invalidate, paths)

    def _invalidate(self, paths: Sequence[str]) -> None:
        # Imported on first use: a process without a distribution does without the library's memory.
        from botocore.exceptions import BotoCoreError, ClientError

        batch = {"Paths": {"Quantity": len(paths), "Items": list(paths)}, "CallerReference": str(uuid.uuid4())}
        try:
            if self._client is None:
                self._client = self._open()
            self._client.create_invalidation(
                DistributionId=self._settings.cloudfront_distribution_id, InvalidationBatch=batch
            )
        except (BotoCoreError, ClientError) as error:
            raise CloudFrontUnavailable(type(error).__name__) from error

    def _open(self) -> Any:
        import boto3
        from botocore.config import Config

        timeout_s = self._settings.purge_timeout_s
        config = Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            retries={"mode": "standard", "total_max_attempts": 2},
            user_agent_extra="isobase",
        )
        # CloudFront is one service for the whole world; its requests are signed for this region.
        endpoint_url = self._settings.cloudfront_endpoint_url
        return boto3.client("cloudfront", region_name="us-east-1", endpoint_url=endpoint_url, config=config)

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
