"""Moves buckets: ``carrier`` makes objects and buckets equal, ``store`` is one side's storage, ``walk`` compares both.

docs/migration/storage.md is the operator's side of it.
"""
