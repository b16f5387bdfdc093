"""Storage: buckets and objects under PostgreSQL's policies, as supabase/storage serves them.

``core`` holds rules, SQL and transactions; ``blob`` keeps the bytes; ``signer`` makes the tokens of signed URLs;
``rest`` (the Supabase face) and ``simple`` parse and render; ``render`` transforms images. Only ``create_service`` is
public, and it is imported when it is asked for: the rendering processes import from this package too, and stay light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isobase_services.storage.service import create_service

__all__ = ["create_service"]


def __getattr__(name: str) -> Any:
    if name == "create_service":
        from isobase_services.storage.service import create_service

        return create_service
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
