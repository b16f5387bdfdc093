"""What every Isobase service shares, and no route of its own.

Neighbours: ``isobase_services`` build on this package; it imports third-party packages only. Modules: ``config``,
``keys``, ``tokens``, ``caller``, ``rls``, ``pool``, ``store``, ``bus``, ``errors``, ``schema``, ``sql``, ``http``,
``observe``, ``service`` and the composition of them all, ``runtime``.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
