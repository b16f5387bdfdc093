"""The stages that a capability (auth, a table, a bucket, realtime) passes through on its way from Supabase to AWS."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Stage"]


class Stage(StrEnum):
    """Which side answers and which sides are written; one step forwards or back at a time."""

    OFF = "off"
    """Supabase alone."""
    DUAL_WRITE = "dual_write"
    """Supabase answers; writes also go to AWS."""
    SHADOW_READ = "shadow_read"
    """Both are read and compared; Supabase's answer is returned."""
    LIVE = "live"
    """AWS answers and is written first; Supabase is still written and is the fallback."""
    RAMP_DOWN = "ramp_down"
    """AWS alone is read; Supabase is still written."""
    COMPLETE = "complete"
    """AWS alone."""

    def may_become(self, other: Stage) -> bool:
        """True when ``other`` is this stage's neighbour: every stage has one way on and one way back."""
        order = list(Stage)
        return abs(order.index(self) - order.index(other)) == 1
