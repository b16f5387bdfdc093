"""Moves an app from Supabase to Isobase call by call: the stages of a capability's migration.

A flag picks the stage per capability; code switches on the enum, never on two booleans. Routing, copying and verifying build
on it (docs/roadmap.md).
"""

from isobase_adapter.stages import Stage

__all__ = ["Stage"]
