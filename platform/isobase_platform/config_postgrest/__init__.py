"""PostgREST's spelling of the settings: ``PGRST_*`` variables, a configuration file, and settings kept in the database.

``options`` is the table of names, kinds and defaults; ``sources`` reads values by it; ``settings`` turns them into Isobase's
own. ``configuration_file`` and ``connection`` read what PostgREST's file and libpq's connection strings look like, ``dump``
writes the file again. Source: PostgREST v14 docs, references/configuration, and ``Config.hs``.
"""

from isobase_platform.config_postgrest.configuration_file import FileValue, load_file
from isobase_platform.config_postgrest.connection import connection_url
from isobase_platform.config_postgrest.dump import dump
from isobase_platform.config_postgrest.options import IN_DATABASE
from isobase_platform.config_postgrest.settings import over_rest_settings, to_rest_settings, to_settings
from isobase_platform.config_postgrest.sources import Options, Sources

__all__ = [
    "IN_DATABASE",
    "FileValue",
    "Options",
    "Sources",
    "connection_url",
    "dump",
    "load_file",
    "over_rest_settings",
    "to_rest_settings",
    "to_settings",
]
