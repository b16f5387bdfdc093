"""What goes into the storage client's calls and comes out of them: buckets, objects, options.

Names and members are those of storage3's ``types``, so that annotations in an app stay as they are; the names of vectors and
analytics stand in :mod:`isobase.storage.vector_types` and are given here too.
"""

# ruff: noqa: N801, N803, N815 (names are the API's and storage3's)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypedDict

from pydantic import BaseModel, TypeAdapter
from typing_extensions import ReadOnly

from isobase.storage.vector_types import (
    JSON,
    AnalyticsBucket,
    AnalyticsBucketDeleteResponse,
    AnalyticsBucketsParser,
    DistanceMetric,
    GetVectorBucketResponse,
    GetVectorIndexResponse,
    GetVectorsResponse,
    ListIndexesOptions,
    ListIndexesResponseItem,
    ListVectorBucketsItem,
    ListVectorBucketsResponse,
    ListVectorIndexesResponse,
    ListVectorsResponse,
    MetadataConfiguration,
    QueryVectorsResponse,
    SortColumn,
    SortOrder,
    VectorBucket,
    VectorBucketEncryptionConfiguration,
    VectorData,
    VectorFilter,
    VectorIndex,
    VectorMatch,
    VectorObject,
)

__all__ = [
    "JSON",
    "AnalyticsBucket",
    "AnalyticsBucketDeleteResponse",
    "AnalyticsBucketsParser",
    "BaseBucket",
    "CopyOptions",
    "CreateOrUpdateBucketOptions",
    "CreateSignedURLsOptions",
    "CreateSignedUploadUrlOptions",
    "CreateSignedUrlResponse",
    "DestinationOptions",
    "DistanceMetric",
    "DownloadOptions",
    "FileOptions",
    "GetVectorBucketResponse",
    "GetVectorIndexResponse",
    "GetVectorsResponse",
    "ListBucketFilesOptions",
    "ListBucketsOptions",
    "ListIndexesOptions",
    "ListIndexesResponseItem",
    "ListVectorBucketsItem",
    "ListVectorBucketsResponse",
    "ListVectorIndexesResponse",
    "ListVectorsResponse",
    "MetadataConfiguration",
    "Progress",
    "PurgeCacheOptions",
    "QueryVectorsResponse",
    "RequestMethod",
    "SearchV2Folder",
    "SearchV2Object",
    "SearchV2Options",
    "SearchV2Result",
    "SignedUploadURL",
    "SignedUrlJsonResponse",
    "SignedUrlResponse",
    "SignedUrlsJsonItem",
    "SignedUrlsJsonResponse",
    "SortByV2",
    "SortColumn",
    "SortOrder",
    "TransformOptions",
    "URLOptions",
    "UploadData",
    "UploadResponse",
    "UploadSignedUrlFileOptions",
    "VectorBucket",
    "VectorBucketEncryptionConfiguration",
    "VectorData",
    "VectorFilter",
    "VectorIndex",
    "VectorMatch",
    "VectorObject",
    "transform_to_dict",
]

RequestMethod = Literal["GET", "POST", "DELETE", "PUT", "HEAD"]

Progress: TypeAlias = Callable[[int, int | None], object]
"""Is called as bytes move, with how many have and how many there are (None: not known). What it raises ends the transfer."""


class BaseBucket(BaseModel, extra="ignore"):
    """A bucket: ``file_size_limit`` in bytes, ``owner`` the id of the user who made it or an empty text."""

    id: str
    name: str
    owner: str
    public: bool
    created_at: datetime
    updated_at: datetime
    file_size_limit: int | None
    allowed_mime_types: list[str] | None
    type: str | None = None


class CreateOrUpdateBucketOptions(TypedDict, total=False):
    """Settings of a bucket. ``file_size_limit`` is in bytes, or a text with a unit (``20MB``); None takes a limit away.

    ``type`` counts for ``create_bucket`` alone.
    """

    public: bool
    file_size_limit: int | str | None
    allowed_mime_types: list[str] | None
    type: Literal["STANDARD", "ANALYTICS"]


class ListBucketsOptions(TypedDict, total=False):
    """Which buckets to list. ``search`` is a part of the name; the other names are the API's own."""

    limit: int
    offset: int
    sortColumn: Literal["id", "name", "created_at", "updated_at"]
    sortOrder: Literal["asc", "desc"]
    search: str


class _sortByType(TypedDict, total=False):
    """The order of a list."""

    column: str
    order: Literal["asc", "desc"]


class ListBucketFilesOptions(TypedDict, total=False):
    """Which objects of a folder to list: ``limit`` (default 100), ``offset``, order, and how their names begin."""

    limit: int
    offset: int
    sortBy: _sortByType
    search: str


class SortByV2(TypedDict, total=False):
    """The order of :meth:`list_v2`."""

    column: Literal["name", "updated_at", "created_at"]
    order: Literal["asc", "desc"]


class SearchV2Options(TypedDict, total=False):
    """What :meth:`list_v2` gives: keys that begin with ``prefix``, by pages of ``limit`` (at most 1,000)."""

    limit: int
    prefix: str
    cursor: str
    with_delimiter: bool
    sortBy: SortByV2


class SearchV2Object(BaseModel):
    """An object of :meth:`list_v2`; ``key`` is there with a delimiter."""

    id: str
    name: str
    updated_at: datetime
    created_at: datetime
    metadata: dict[str, Any] | None
    key: str | None = None


class SearchV2Folder(BaseModel):
    """A folder of :meth:`list_v2`."""

    key: str | None = None
    name: str
    created_at: datetime | None = None
    updated_at: datetime | None = None


class SearchV2Result(BaseModel):
    """A page of :meth:`list_v2`; ``nextCursor`` goes into the next call's options while ``hasNext``."""

    hasNext: bool
    folders: list[SearchV2Folder]
    objects: list[SearchV2Object]
    nextCursor: str | None = None


class TransformOptions(TypedDict, total=False):
    """How an image is rendered: pixels, how it is fitted, format, quality (20 to 100)."""

    height: ReadOnly[int]
    width: ReadOnly[int]
    resize: ReadOnly[Literal["cover", "contain", "fill"]]
    format: ReadOnly[Literal["origin", "avif", "webp"]]
    quality: ReadOnly[int]


def transform_to_dict(t: TransformOptions) -> dict[str, str]:
    """Give the query values of an image's transformation."""
    return {key: str(value) for key, value in t.items()}


class URLOptions(TypedDict, total=False):
    """``download``: True, or the name under which a browser saves; ``cache_nonce``: a value that passes by caches."""

    download: str | bool
    transform: TransformOptions
    cache_nonce: str


class CreateSignedURLsOptions(TypedDict, total=False):
    """As :class:`URLOptions`, without a transformation."""

    download: str | bool
    cache_nonce: str


class DownloadOptions(TypedDict, total=False):
    """How an object is read: rendered, and past caches."""

    transform: TransformOptions
    cache_nonce: str


class DestinationOptions(TypedDict, total=False):
    """Where an object is moved or copied to: another bucket's id."""

    destination_bucket: str


class CopyOptions(DestinationOptions, total=False):
    """As :class:`DestinationOptions`; ``upsert`` replaces what is there."""

    upsert: bool


class PurgeCacheOptions(TypedDict, total=False):
    """``transformations``: only rendered forms of the images, and not the files as they are."""

    transformations: bool


FileOptions = TypedDict(
    "FileOptions",
    {
        "cache-control": str,
        "content-type": str,
        "x-upsert": str,
        "upsert": str | bool,
        "metadata": dict[str, Any],
        "headers": dict[str, str],
    },
    total=False,
)
"""``cache-control`` in seconds (default 3600), ``upsert`` ("true": replace what is there), ``metadata`` of one's own."""

UploadSignedUrlFileOptions = TypedDict(
    "UploadSignedUrlFileOptions",
    {
        "cache-control": str,
        "content-type": str,
        "metadata": dict[str, Any],
        "headers": dict[str, str],
    },
    total=False,
)


class CreateSignedUploadUrlOptions(BaseModel, extra="ignore"):
    """``upsert``: "true" makes a URL that may replace an object."""

    upsert: str


class UploadData(TypedDict, total=False):
    """The server's answer to an upload."""

    Id: str
    Key: str


@dataclass
class UploadResponse:
    """Where an upload went: ``path`` in the bucket, ``full_path`` with the bucket's id; ``id`` where the server tells it."""

    path: str
    full_path: str
    fullPath: str

    def __init__(self, path: str, Key: str, *, id: str | None = None) -> None:
        self.path = path
        self.full_path = Key
        self.fullPath = Key
        self.id = id

    dict = asdict


class SignedUploadURL(TypedDict):
    """A URL that takes one upload, and the token in it."""

    signed_url: str
    signedUrl: str
    token: str
    path: str


class SignedUrlResponse(TypedDict):
    """A signed URL, under both spellings."""

    signedURL: str | None
    signedUrl: str | None


class CreateSignedUrlResponse(TypedDict):
    """One of several signed URLs; ``error`` says why there is none."""

    error: str | None
    path: str
    signedURL: str | None
    signedUrl: str | None


class SignedUrlJsonResponse(BaseModel, extra="ignore"):
    """The server's answer to a signature."""

    signedURL: str


class SignedUrlsJsonItem(BaseModel, extra="ignore"):
    """The server's answer to one of several signatures."""

    error: str | None
    path: str
    signedURL: str | None


SignedUrlsJsonResponse: TypeAdapter[list[SignedUrlsJsonItem]] = TypeAdapter(list[SignedUrlsJsonItem])
