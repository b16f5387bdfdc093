"""Rewriting the beginnings of URLs that tables hold, for a project whose files or API moved to another address.

``prefixes`` says what becomes what, ``columns`` finds and checks the columns, ``json_text`` changes strings within JSON, and
``rewrite`` walks the tables in batches. Nothing here knows of buckets or blobs. Called by ``isobase storage move --rewrite``.
"""

from __future__ import annotations

from isobase_deploy.url_rewrite.columns import ColumnName, parse_column_name
from isobase_deploy.url_rewrite.prefixes import Prefix, prefixes_of
from isobase_deploy.url_rewrite.rewrite import RewrittenColumn, UrlRewriter

__all__ = ["ColumnName", "Prefix", "RewrittenColumn", "UrlRewriter", "parse_column_name", "prefixes_of"]
