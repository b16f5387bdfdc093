"""Signatures against the examples that AWS publishes, and the aws-chunked encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest

from isobase_services.storage.errors import StorageError
from isobase_services.storage.s3 import sigv4
from isobase_services.storage.s3.chunked import ChunkedDecoder
from isobase_services.storage.s3.sigv4 import (
    CanonicalForm,
    ClientSignature,
    Credential,
    SignatureFormatError,
    SignedRequest,
)

# From "Examples: Signature Calculations in AWS Signature Version 4" and its pages on chunks, in Amazon S3's API reference.
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
DATE = "20130524T000000Z"
CREDENTIAL = Credential("AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", "s3")
HOST = "examplebucket.s3.amazonaws.com"
CHUNK_HOST = "s3.amazonaws.com"


def client(payload: str, headers: Sequence[str], signature: str = "") -> ClientSignature:
    return ClientSignature(CREDENTIAL, tuple(headers), DATE, signature, payload)


@pytest.mark.parametrize(
    ("request_", "payload", "signature"),
    [
        pytest.param(
            SignedRequest("GET", "/test.txt", [], {"host": HOST, "range": "bytes=0-9"}),
            sigv4.EMPTY_SHA256,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            id="an object",
        ),
        pytest.param(
            SignedRequest(
                "PUT",
                "/test%24file.text",
                [],
                {
                    "host": HOST,
                    "date": "Fri, 24 May 2013 00:00:00 GMT",
                    "x-amz-storage-class": "REDUCED_REDUNDANCY",
                },
            ),
            hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            id="an upload",
        ),
        pytest.param(
            SignedRequest("GET", "/", [("lifecycle", "")], {"host": HOST}),
            sigv4.EMPTY_SHA256,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            id="a sub-resource",
        ),
        pytest.param(
            SignedRequest("GET", "/", [("prefix", "J"), ("max-keys", "2")], {"host": HOST}),
            sigv4.EMPTY_SHA256,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            id="a list",
        ),
    ],
)
def test_requests_are_signed_as_in_the_examples(request_: SignedRequest, payload: str, signature: str) -> None:
    headers = {**request_.headers, "x-amz-content-sha256": payload, "x-amz-date": DATE}
    signed = replace(request_, headers=headers)
    canonical = CanonicalForm.of(signed, list(headers)).text(signed.path, payload)
    assert sigv4.request_signature(SECRET, client(payload, list(headers)), canonical) == signature


def test_a_presigned_url_is_signed_as_in_the_example() -> None:
    query = sigv4.split_query(
        b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        b"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        b"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    parsed = sigv4.parse_query(query, {})
    assert (parsed.credential, parsed.expires_in_s, parsed.payload) == (CREDENTIAL, 86400, "UNSIGNED-PAYLOAD")
    request = SignedRequest("GET", "/test.txt", query, {"host": HOST})
    canonical = CanonicalForm.of(request, parsed.signed_headers).text(request.path, "UNSIGNED-PAYLOAD")
    assert sigv4.request_signature(SECRET, parsed, canonical) == parsed.signature


def test_an_authorization_header_is_read_whatever_its_spaces() -> None:
    for separator in (",", ", ", " ,  "):
        parts = (
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request",
            "SignedHeaders=host;range;x-amz-date",
            "Signature=abc",
        )
        parsed = sigv4.parse_authorization(separator.join(parts), {"x-amz-date": DATE})
        assert (parsed.credential, parsed.signature) == (CREDENTIAL, "abc")
        assert parsed.signed_headers == ("host", "range", "x-amz-date")
        assert "abc" not in repr(parsed)


@pytest.mark.parametrize(
    "value",
    [
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request,SignedHeaders=host",
        "AWS4-HMAC-SHA256 Credential=a/b/c/aws4_request,SignedHeaders=host,Signature=x",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws3_request,SignedHeaders=host,Signature=x",
        f"AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request,SignedHeaders={'a;' * 200},Signature=x",
    ],
)
def test_what_is_no_signature_is_refused(value: str) -> None:
    with pytest.raises(SignatureFormatError):
        sigv4.parse_authorization(value, {"x-amz-date": DATE})


class _Signer:
    """The secret of the examples."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self._client = client("", ())

    def chunk(self, previous: str, sha256: str) -> str:
        return sigv4.chunk_signature(SECRET, self._client, previous, sha256)

    def trailer(self, previous: str, sha256: str) -> str:
        return sigv4.trailer_signature(SECRET, self._client, previous, sha256)

    def is_equal(self, one: str, other: str) -> bool:
        return sigv4.is_equal(one, other)


SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
SIGNED = (
    b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"
    + b"a" * 65536
    + b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"
    + b"a" * 1024
    + b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
)
TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
WITH_TRAILER = (
    b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"
    + b"a" * 65536
    + b"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n"
    + b"a" * 1024
    + b"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"
    + b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    + b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
)
UNSIGNED = b"3\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"


def decode(decoder: ChunkedDecoder, body: bytes, step: int) -> tuple[bytes, dict[str, str]]:
    found = [piece for at in range(0, len(body), step) for piece in decoder.feed(body[at : at + step])]
    return b"".join(found), dict(decoder.finish())


@pytest.mark.parametrize("step", [1, 7, 1000, 65536, 10**6])
def test_chunks_are_verified_however_they_arrive(step: int) -> None:
    content, trailer = decode(ChunkedDecoder(_Signer(SEED), has_trailer=False), SIGNED, step)
    assert (content, trailer) == (b"a" * 66560, {})
    content, trailer = decode(ChunkedDecoder(_Signer(TRAILER_SEED), has_trailer=True), WITH_TRAILER, step)
    assert (content, trailer) == (b"a" * 66560, {"x-amz-checksum-crc32c": "sOO8/Q=="})
    content, trailer = decode(ChunkedDecoder(None, has_trailer=True), UNSIGNED, step)
    assert (content, trailer) == (b"abcde", {"x-amz-checksum-crc32": "AAAAAA=="})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(SIGNED.replace(b"aaaa\r\n400", b"aaab\r\n400"), "SignatureDoesNotMatch", id="a byte"),
        pytest.param(SIGNED.replace(b"0055627c", b"0055627d"), "SignatureDoesNotMatch", id="a signature"),
        pytest.param(SIGNED.replace(b"b6c6ea8a", b"b6c6ea8b"), "SignatureDoesNotMatch", id="the last signature"),
        pytest.param(SIGNED[: SIGNED.index(b"\r\n400") + 2], "InvalidRequest", id="the end is missing"),
        pytest.param(SIGNED.replace(b";chunk-signature=", b";other=", 1), "InvalidRequest", id="no signature"),
        pytest.param(b"zz;chunk-signature=" + b"0" * 64 + b"\r\n", "InvalidRequest", id="no length"),
        pytest.param(b"1" * 300, "InvalidRequest", id="a line without end"),
        pytest.param(b"fffffffffffffff;chunk-signature=" + b"0" * 64 + b"\r\n", "EntityTooLarge", id="too long"),
        pytest.param(SIGNED[:-2] + b"x: y\r\n\r\n", "InvalidRequest", id="a trailer that was not announced"),
        pytest.param(SIGNED.replace(b"\r\n400", b"aa400"), "InvalidRequest", id="longer than stated"),
    ],
)
def test_a_body_that_was_changed_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(StorageError) as caught:
        decode(ChunkedDecoder(_Signer(SEED), has_trailer=False), body, 1000)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(WITH_TRAILER.replace(b"sOO8", b"sOO9"), "SignatureDoesNotMatch", id="a value"),
        pytest.param(WITH_TRAILER.replace(b"d81f82", b"d81f83"), "SignatureDoesNotMatch", id="its signature"),
        pytest.param(
            WITH_TRAILER[: WITH_TRAILER.index(b"x-amz-trailer-sig")] + b"\r\n", "SignatureDoesNotMatch", id="unsigned"
        ),
        pytest.param(WITH_TRAILER[: WITH_TRAILER.index(b"x-amz-checksum")], "InvalidRequest", id="missing"),
        pytest.param(WITH_TRAILER[:-2] + b"x" * 9000, "InvalidRequest", id="endless"),
    ],
)
def test_a_trailer_that_was_changed_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(StorageError) as caught:
        decode(ChunkedDecoder(_Signer(TRAILER_SEED), has_trailer=True), body, 1000)
    assert caught.value.code == code
