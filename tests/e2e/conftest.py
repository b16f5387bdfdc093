"""What these tests have in common."""

from __future__ import annotations

from tests.plugins.patience import patient_defaults

__all__ = ["patient_defaults"]
