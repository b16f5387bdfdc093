"""boto3 as its users make it, for the S3 face of a running storage service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import boto3
import httpx
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from isobase_platform.config_storage import DEFAULT_S3_ACCESS_KEY_ID, DEFAULT_S3_SECRET_ACCESS_KEY
from tests.storage.conftest import Stack

__all__ = ["REGION", "in_thread", "refused", "s3_client", "s3_endpoint", "session_client", "signed"]

REGION = "us-east-1"
CREDENTIALS = Credentials(DEFAULT_S3_ACCESS_KEY_ID, DEFAULT_S3_SECRET_ACCESS_KEY)
_T = TypeVar("_T")


def s3_endpoint(stack: Stack) -> str:
    """Where the S3 protocol is served."""
    return f"{stack.url}/storage/v1/s3"


def s3_client(stack: Stack, *, key: str | None = None, secret: str | None = None, **options: Any) -> Any:
    """A client with the project's own access key, or another."""
    # Without its version named, boto3 presigns with signatures of version 2.
    usual = Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    config = options.pop("config", usual)
    return boto3.client(
        "s3",
        endpoint_url=options.pop("endpoint", s3_endpoint(stack)),
        region_name=options.pop("region_name", REGION),
        aws_access_key_id=key or DEFAULT_S3_ACCESS_KEY_ID,
        aws_secret_access_key=secret or DEFAULT_S3_SECRET_ACCESS_KEY,
        config=config,
        **options,
    )


def session_client(stack: Stack, token: str, *, secret: str | None = None, key: str = "local") -> Any:
    """A client of the user whose token this is."""
    return s3_client(stack, key=key, secret=secret or stack.anon_token, aws_session_token=token)


async def in_thread(work: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    """Run a client's blocking call beside the server."""
    return await asyncio.to_thread(work, *args, **kwargs)


@contextlib.contextmanager
def refused(code: str, status: int) -> Iterator[None]:
    """The block ends with the client's error of this code and HTTP status."""
    with pytest.raises(ClientError) as caught:
        yield
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), response


def signed(
    stack: Stack,
    path: str = "/files/a/k.txt",
    *,
    method: str = "GET",
    credentials: Credentials = CREDENTIALS,
    service: str = "s3",
    data: bytes = b"",
    host: str | None = None,
    signer: type[SigV4Auth] = S3SigV4Auth,
    headers: dict[str, str] | None = None,
) -> httpx.Request:
    """A signed request as botocore makes it; ``host`` and path as the client sees them."""
    url = f"{host or stack.url}/storage/v1/s3{path}"
    request = AWSRequest(method, url, headers=headers or {}, data=data)
    signer(credentials, service, "us-east-1").add_auth(request)
    return httpx.Request(method, request.url, headers=dict(request.headers.items()), content=data or None)
