"""The embedded PostgreSQL: ``server`` runs it, ``account`` and ``launch`` say as whom, ``conf`` with which settings."""

from isobase_deploy.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
