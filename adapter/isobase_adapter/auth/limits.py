"""What a merge of users may do."""

from __future__ import annotations

from dataclasses import dataclass

from isobase_adapter.contracts import Fence

__all__ = ["MergeLimits"]


@dataclass(slots=True, frozen=True)
class MergeLimits:
    """What a merge may do. ``adopts``: whether what only the target has is brought to the source, or left alone."""

    adopts: bool = True
    fence: Fence | None = None
