"""Auth: users, sessions and tokens. GoTrue's API and the simple face over one set of flows.

Layers, each importing only those after it: ``service`` -> ``v1``, ``simple`` (parse and render) -> ``flows`` (plan and
execute) -> ``store`` (statements) -> ``models``, ``rules``, ``tokens``, ``passwords`` (values and pure functions).
"""

from isobase_services.auth.passwords import rehash_stand_ins
from isobase_services.auth.service import AuthService, create_service

__all__ = ["AuthService", "create_service", "rehash_stand_ins"]
