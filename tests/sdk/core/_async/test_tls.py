"""TLS: certificates are checked, and HTTP/2 is spoken where the options ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from isobase import AsyncClient, AsyncClientOptions, call_options
from isobase._http import AsyncSession
from tests.sdk.core.tls import TlsServer, certificate, tls_server


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsServer]:
    """A server whose certificate this process trusts, by the environment."""
    certificate_file, key_file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_file))
    with tls_server(certificate_file, key_file) as server:
        yield server


@pytest.mark.parametrize(("http2", "protocol"), [(False, None), (True, "h2")])
async def test_a_client_speaks_what_its_options_say(secure: TlsServer, http2: bool, protocol: str | None) -> None:
    async with AsyncClient(secure.url, "key", AsyncClientOptions(http2=http2)) as client:
        for _ in range(3):
            assert (await client.table("t").select("*").execute()).data == []
        assert await client.storage.list_buckets() == []
    assert secure.protocols == [protocol]


async def test_a_certificate_that_nobody_trusts_is_refused(secure: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with AsyncSession() as session:
        with call_options(retries=0), pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await session.request("GET", secure.url)


async def test_a_certificate_of_another_name_is_refused(secure: TlsServer) -> None:
    async with AsyncSession() as session:
        with call_options(retries=0), pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await session.request("GET", secure.url.replace("127.0.0.1", "localhost"))


async def test_checking_can_be_switched_off(secure: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with AsyncSession(verify=False) as session:
        assert (await session.request("GET", secure.url)).json() == []
