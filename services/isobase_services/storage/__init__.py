"""Storage: buckets and objects under PostgreSQL's policies, as supabase/storage serves them.

``core`` holds rules, SQL and transactions; ``blob`` keeps the bytes; ``signer`` makes the tokens of signed URLs;
``rest`` (the Supabase face) and ``simple`` parse and render. Only ``create_service`` is public.
"""

from isobase_services.storage.service import create_service

__all__ = ["create_service"]
