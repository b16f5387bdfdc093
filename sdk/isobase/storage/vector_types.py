"""What goes into the calls of vector and analytics buckets and comes out of them.

Source: storage3's ``types``; supabase-js's ``lib/types`` for what storage3 lacks.
"""

# ruff: noqa: N815 (names are the API's and storage3's)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import AliasChoices, BaseModel, Field, TypeAdapter
from typing_extensions import TypeAliasType

JSON = TypeAliasType("JSON", "bool | str | int | float | Sequence[JSON] | Mapping[str, JSON] | None")

SortColumn = Literal["id", "name", "created_at", "updated_at"]
SortOrder = Literal["asc", "desc"]
DistanceMetric: TypeAlias = Literal["cosine", "euclidean", "dotproduct"]
VectorFilter = dict[str, Any]


class MetadataConfiguration(BaseModel, extra="ignore"):
    """Which keys of the vectors' metadata are kept and returned, and cannot be filtered by."""

    non_filterable_metadata_keys: list[str] | None = Field(
        default=None,
        validation_alias=AliasChoices("non_filterable_metadata_keys", "nonFilterableMetadataKeys"),
        serialization_alias="nonFilterableMetadataKeys",
    )


class ListIndexesOptions(BaseModel, extra="ignore"):
    """Which indexes to list."""

    nextToken: str | None = None
    maxResults: int | None = None
    prefix: str | None = None


class ListIndexesResponseItem(BaseModel, extra="ignore"):
    """One index of a list."""

    indexName: str


class ListVectorIndexesResponse(BaseModel, extra="ignore"):
    """A page of indexes; ``nextToken`` goes into the next call."""

    indexes: list[ListIndexesResponseItem]
    nextToken: str | None = None


class VectorIndex(BaseModel, extra="ignore"):
    """An index: the kind and length of its vectors, and how their distance is measured."""

    index_name: str = Field(alias="indexName")
    bucket_name: str = Field(alias="vectorBucketName")
    data_type: str = Field(alias="dataType")
    dimension: int
    distance_metric: DistanceMetric = Field(alias="distanceMetric")
    metadata: MetadataConfiguration | None = Field(alias="metadataConfiguration", default=None)
    creation_time: datetime | None = Field(alias="creationTime", default=None)


class GetVectorIndexResponse(BaseModel, extra="ignore"):
    """The answer about one index."""

    index: VectorIndex


class VectorData(BaseModel, extra="ignore"):
    """The numbers of a vector."""

    float32: list[float]


class VectorObject(BaseModel, extra="ignore"):
    """A vector to store under a key, with metadata."""

    key: str
    data: VectorData
    metadata: dict[str, JSON] | None = None


class VectorMatch(BaseModel, extra="ignore"):
    """A vector that was found; ``distance`` is there in the answers of queries."""

    key: str
    data: VectorData | None = None
    distance: float | None = None
    metadata: dict[str, Any] | None = None


class GetVectorsResponse(BaseModel, extra="ignore"):
    """Vectors by key; keys that are not there are left out."""

    vectors: list[VectorMatch]


class ListVectorsResponse(BaseModel, extra="ignore"):
    """A page of vectors; ``nextToken`` goes into the next call."""

    vectors: list[VectorMatch]
    nextToken: str | None = None


class QueryVectorsResponse(BaseModel, extra="ignore"):
    """The nearest vectors, nearest first."""

    vectors: list[VectorMatch]
    distanceMetric: DistanceMetric | None = None


class VectorBucketEncryptionConfiguration(BaseModel, extra="ignore"):
    """How a vector bucket is encrypted."""

    kmsKeyArn: str | None = None
    sseType: str | None = None


class VectorBucket(BaseModel, extra="ignore"):
    """A vector bucket."""

    vectorBucketName: str
    creationTime: datetime | None = None
    encryptionConfiguration: VectorBucketEncryptionConfiguration | None = None


class GetVectorBucketResponse(BaseModel, extra="ignore"):
    """The answer about one vector bucket."""

    vectorBucket: VectorBucket


class ListVectorBucketsItem(BaseModel, extra="ignore"):
    """One vector bucket of a list."""

    vectorBucketName: str


class ListVectorBucketsResponse(BaseModel, extra="ignore"):
    """A page of vector buckets; ``nextToken`` goes into the next call."""

    vectorBuckets: list[ListVectorBucketsItem]
    nextToken: str | None = None


class AnalyticsBucket(BaseModel, extra="ignore"):
    """A bucket of Iceberg tables."""

    name: str
    type: Literal["ANALYTICS"] | None = None
    format: str | None = None
    created_at: datetime
    updated_at: datetime


class AnalyticsBucketDeleteResponse(BaseModel, extra="ignore"):
    """The server's words after a removal."""

    message: str


AnalyticsBucketsParser: TypeAdapter[list[AnalyticsBucket]] = TypeAdapter(list[AnalyticsBucket])
