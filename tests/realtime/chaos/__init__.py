"""Realtime under chaos: run by make targets of their own, not with the suite."""
