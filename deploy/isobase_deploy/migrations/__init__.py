"""The project's own SQL on the database: migrations, seed files, roles.sql.

``project`` decides what is to run and in which order; ``apply`` runs one file; ``split`` cuts it; ``files`` and ``history``
know what there is and what was applied.
"""

from isobase_deploy.migrations.apply import ScriptError
from isobase_deploy.migrations.project import Outcome, Report, migrate, set_up

__all__ = ["Outcome", "Report", "ScriptError", "migrate", "set_up"]
