"""Types written from the database: ``isobase gen types``.

``read`` asks the catalogue once (``catalog``), ``typescript`` and ``python`` turn what it says into a module's text.
Both are pure and deterministic: the same schema gives the same bytes.
"""

from __future__ import annotations

from isobase_deploy.typegen.catalog import Catalogue, read
from isobase_deploy.typegen.python import Rows, python_module
from isobase_deploy.typegen.typescript import typescript_module

__all__ = ["Catalogue", "Rows", "python_module", "read", "typescript_module"]
