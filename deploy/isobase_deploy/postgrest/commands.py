"""What ``isobase serve database`` does with PostgREST's flags that print something and end."""

from __future__ import annotations

import http.client
import ipaddress
import sys

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.postgrest.admin import cache_json
from isobase_deploy.postgrest.program import Program
from isobase_platform.config_postgrest import Options, Sources, connection_url, dump
from isobase_platform.errors import ConfigurationError, DatabaseError, Unavailable
from isobase_platform.runtime import Platform
from isobase_services.database import RestService
from isobase_services.database.stored_settings import read_stored_settings

__all__ = ["ask_ready", "dump_config", "dump_schema", "print_example"]

READY_TIMEOUT_S = 5.0
MAX_PORT = 65_535


async def dump_config(sources: Sources) -> ExitCode:
    """Print the configuration in force as a configuration file, secrets and all.

    A database that cannot be asked for its part is named on standard error, and the rest is printed, as upstream does.
    """
    options = sources.read()
    if options.values["db-config"]:
        pre_config = options.values["db-pre-config"]
        try:
            uri = str(options.values["db-uri"])
            url = connection_url(uri, sources.environment)
            held = await read_stored_settings(url, None if pre_config is None else str(pre_config))
        except (ConfigurationError, Unavailable, DatabaseError) as error:
            print(f"the settings in the database cannot be read: {error.message}", file=sys.stderr)  # noqa: T201
        else:
            options = sources.read(held, database_uri=uri)
    sys.stdout.write(dump(options))
    return ExitCode.OK


async def dump_schema(program: Program) -> ExitCode:
    """Print the schema cache as JSON. Raises ``Unavailable`` and ``DatabaseError`` where it cannot be read."""
    async with Platform.open(program.settings) as platform:
        service = RestService(platform, program.read_rest_settings, "")
        await service.keeper.reload()
        print(cache_json(service.keeper.cache))  # noqa: T201
    return ExitCode.OK


def print_example() -> ExitCode:
    """Print a configuration file that says what holds anyway."""
    sys.stdout.write(dump(Sources({}).read()))
    return ExitCode.OK


def ask_ready(options: Options) -> ExitCode:
    """Ask the admin server of a running ``isobase serve database`` whether it is ready, and print what it says."""
    host = str(options.values["admin-server-host"])
    port = options.values["admin-server-port"]
    if port is None:
        return _failed("Admin server is not running. Please check admin-server-port config.")
    if host in {"*", "*4", "!4", "*6", "!6"}:
        return _failed(
            f'The `--ready` flag cannot be used when server-host is configured as "{host}". '
            'Please update your server-host config to "localhost".'
        )
    url = f"http://{_bracketed(host)}:{port}/ready"
    if not isinstance(port, int) or not 0 < port <= MAX_PORT:
        return _failed(f"invalid url - {url}")
    connection = http.client.HTTPConnection(host, port, timeout=READY_TIMEOUT_S)
    try:
        connection.request("GET", "/ready")
        status = connection.getresponse().status
    except OSError:
        return _failed(f"connection refused to {url}")
    finally:
        connection.close()
    if status != http.client.OK:
        return _failed(url)
    print(f"OK: {url}")  # noqa: T201
    return ExitCode.OK


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host


def _failed(reason: str) -> ExitCode:
    print(f"ERROR: {reason}", file=sys.stderr)  # noqa: T201
    return ExitCode.UNEXPECTED
