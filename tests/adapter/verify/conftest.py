"""The two databases of the rows' tests."""

from tests.adapter.rows.conftest import database_names, sides

__all__ = ["database_names", "sides"]
