"""What a plan finds: one thing of the project, how well it moves, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Item", "Verdict"]


class Verdict(StrEnum):
    """How well something moves."""

    WORKS = "works"
    REMARK = "remark"
    NO = "no"


@dataclass(slots=True, frozen=True)
class Item:
    """One finding. ``todo``: what to do, empty where there is nothing."""

    kind: str
    name: str
    verdict: Verdict
    text: str = ""
    todo: str = ""
