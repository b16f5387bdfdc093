"""Auth: users, sessions and tokens. GoTrue's API and the simple face over one set of flows.

Layers, each importing only its own and those after it (kept by tests/house/test_auth_layers.py):

1. ``service``: the mounts and the life, for the composition root.
2. ``v1``, ``simple``: the faces; they parse requests and render answers.
3. ``checks``, ``routing``, ``request``, ``redirects``: what both faces stand on.
4. ``flows`` (plan and execute, one module per operation), ``housekeeping``.
5. ``core``: what every flow works with.
6. ``hooks``, ``messages``, ``providers``, ``limits``, ``captcha``, ``pwned``: the parts of the core.
7. ``store``: statements; each function is one round trip.
8. ``models``, ``errors``, ``rules``, ``tokens``, ``passwords`` and the other modules: values, pure functions and tools.
"""

from isobase_services.auth.passwords import rehash_stand_ins
from isobase_services.auth.service import AuthService, create_service

__all__ = ["AuthService", "create_service", "rehash_stand_ins"]
