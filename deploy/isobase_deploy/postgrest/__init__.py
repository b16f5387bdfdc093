"""``isobase serve database`` in the place of the PostgREST program: its settings, its admin server, its signals.

``server`` is one process of it, ``workers`` keeps several, ``admin`` is the admin server, ``commands`` are the flags that
print something and end.
"""

from isobase_deploy.postgrest.program import Program, create_program

__all__ = ["Program", "create_program"]
