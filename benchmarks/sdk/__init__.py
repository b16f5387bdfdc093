"""The Python client measured beside supabase-py; see ``__main__``."""
