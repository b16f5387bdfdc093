"""The client library of S3 and the threads it runs on.

boto3 waits in its threads, so each request has one while it runs; none waits for a user, only for the S3 server, which has a
time limit (docs/decisions/0018).
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from isobase_platform.config_storage import S3Settings
from isobase_platform.errors import ConfigurationError

__all__ = ["S3Api", "S3Threads", "check_bucket", "make_client"]

S3Api: TypeAlias = Any
"""boto3's S3 client. Its classes are made while it runs, so there is no type to name."""
DEFAULT_REGION = "us-east-1"

_T = TypeVar("_T")
_log = logging.getLogger("isobase.storage")


def make_client(settings: S3Settings, endpoint_url: str | None) -> S3Api:
    """A client for the settings. It takes a while (it reads the service's description), so call it on a thread.

    Raises ``ConfigurationError`` where an address or a region is none.
    """
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    logging.getLogger("botocore").setLevel(logging.WARNING)  # its debug log tells headers and signatures
    config = Config(
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
        max_pool_connections=settings.max_connections,
        tcp_keepalive=True,
        signature_version="s3v4",  # else presigned requests are signed in the old way, which most servers refuse
        # Every write carries its MD5, which every S3 server checks; newer checksums are unknown to many of them.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if settings.force_path_style else "auto"},
        user_agent_extra="isobase",
    )
    secret, token = settings.secret_access_key, settings.session_token
    core = botocore.session.get_session()
    core.register_component("data_loader", _descriptions())
    session = boto3.session.Session(
        botocore_session=core,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        aws_session_token=token.get_secret_value() if token else None,
        region_name=settings.region,
    )
    try:
        return session.client(
            "s3", region_name=session.region_name or DEFAULT_REGION, endpoint_url=endpoint_url, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"storage.s3 cannot be used: {error}") from error


@functools.cache
def _descriptions() -> Any:
    """The descriptions of AWS's services, read once in a process: they are what takes the time of a new client."""
    from botocore.loaders import Loader

    return Loader()


def check_bucket(api: S3Api, bucket: str) -> None:
    """Raise ``ConfigurationError`` for a bucket that is not there or may not be used; runs on a thread.

    A server that does not answer is a warning: it may be back when it is needed.
    """
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    try:
        api.head_bucket(Bucket=bucket)
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ConfigurationError(f"storage.s3 has no credentials: {error}") from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status == 404:
            raise ConfigurationError(f"storage.s3.bucket {bucket} does not exist") from error
        if status in {400, 401, 403}:
            message = f"storage.s3.bucket {bucket} may not be used with these credentials (s3:ListBucket is needed too)"
            raise ConfigurationError(message) from error
        _log.warning("the S3 server refused to tell of its bucket", extra={"bucket": bucket, "status": status})
    except BotoCoreError as error:
        if isinstance(error, ParamValidationError):
            raise ConfigurationError(f"storage.s3.bucket {bucket} is no name of a bucket") from error
        where = {"bucket": bucket, "endpoint": api.meta.endpoint_url, "kind": type(error).__name__}
        _log.warning("the S3 server does not answer", extra=where)


class S3Threads:
    """Runs requests of the client, ``max_workers`` at a time."""

    def __init__(self, max_workers: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers=max_workers, thread_name_prefix="isobase-s3")

    def submit(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """Begin ``work`` on a thread. Cancelling the future does not stop it."""
        return asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def run(self, work: Callable[[], _T], discard: Callable[[_T], None] | None = None) -> _T:
        """Run ``work``. If nobody waits for its result any more, ``discard`` gets it, on the event loop."""
        future = self.submit(work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: _abandon(done, discard))
            raise

    async def close(self) -> None:
        """Wait for running requests; those that have not begun do not any more."""
        await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)


def _abandon(done: asyncio.Future[_T], discard: Callable[[_T], None] | None) -> None:
    if done.cancelled() or done.exception() is not None:  # asking for it keeps asyncio from reporting it as forgotten
        return
    if discard is not None:
        discard(done.result())
