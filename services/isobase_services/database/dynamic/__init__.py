"""The simple face of the data API: databases, tables and rows made at run time, at ``/db``.

A database is a PostgreSQL schema, a table a real table with row-level security from birth. bodies (parse) -> access and
definition (plan) -> store and rows (execute) -> render; rows are read and written by the engine in ``query``.
"""

from isobase_services.database.dynamic.app import create_dynamic_app

__all__ = ["create_dynamic_app"]
