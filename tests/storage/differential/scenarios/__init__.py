"""The scenarios by topic; each module's are registered when it is imported."""

from tests.storage.differential.scenarios import (
    buckets,
    lists,
    objects,
    others,
    resumable,
    s3_protocol,
    s3_sequences,
    signing,
    transfers,
)
from tests.storage.differential.scenarios.registry import SCENARIOS, Scenario

__all__ = [
    "SCENARIOS",
    "Scenario",
    "buckets",
    "lists",
    "objects",
    "others",
    "resumable",
    "s3_protocol",
    "s3_sequences",
    "signing",
    "transfers",
]
