"""The Python client of Isobase.

This release carries its version only; ``create_client`` with the face of supabase-py is the next step of docs/roadmap.md.
Until then every official Supabase client works against an Isobase URL, unmodified.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
