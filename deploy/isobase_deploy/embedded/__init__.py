"""The embedded PostgreSQL: ``server`` runs it, ``account`` and ``launch`` say as whom, ``conf`` with which settings;
``pid_file`` ends what a killed one left.
"""

from isobase_deploy.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
