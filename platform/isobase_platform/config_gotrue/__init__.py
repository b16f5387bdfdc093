"""GoTrue's spelling of the settings: the ``GOTRUE_*`` variables that supabase/auth is configured with.

``options`` and ``options_features`` are the tables of names that have a setting here, ``without_effect`` those that upstream
knows and Isobase does not heed; ``converters`` read one value as Go does, ``sources`` reads an environment by the tables,
``settings`` makes Isobase's settings of it. Source: supabase/auth internal/conf/configuration.go, example.env and README.
"""

from isobase_platform.config_gotrue.settings import GotrueConfiguration, is_gotrue_environment, read_gotrue_environment

__all__ = ["GotrueConfiguration", "is_gotrue_environment", "read_gotrue_environment"]
