"""What the commands of ``isobase migrate`` share: where the sides are, how work runs, ends and answers."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import sys
import tomllib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx

from isobase_adapter.auth.errors import AuthTablesDiffer, TooManyRemovals, UserConflict
from isobase_adapter.bulk.errors import Refused, SideAway
from isobase_adapter.contracts import OutboxAway, WriterMoved
from isobase_adapter.control.errors import ChangeRefused, ControlAway, NotInstalled
from isobase_adapter.handover import HandoverRefused
from isobase_adapter.reasons import reason_of
from isobase_adapter.settings import SettingsError, check_db_url
from isobase_adapter.sides import Side
from isobase_adapter.storage.store import StoreError
from isobase_platform.errors import BadRequest, ConfigurationError, IsobaseError, Unavailable
from isobase_platform.observe import mask_secrets

__all__ = ["Places", "answer", "known_databases", "on_signals", "places_of", "run", "terminal_width", "write_report"]

CONFIG_FILE = Path("isobase-migration.toml")
_ENV = re.compile(r"env\(([A-Za-z_][A-Za-z0-9_]*)\)")
_Result = TypeVar("_Result")


@dataclass(slots=True, frozen=True)
class Places:
    """Where the two sides are. Secrets are not in its ``repr``."""

    supabase_url: str | None = None
    isobase_url: str | None = None
    supabase_db_url: str | None = field(default=None, repr=False)
    isobase_db_url: str | None = field(default=None, repr=False)
    supabase_service_role_key: str | None = field(default=None, repr=False)
    isobase_service_role_key: str | None = field(default=None, repr=False)
    supabase_key: str | None = field(default=None, repr=False)
    isobase_key: str | None = field(default=None, repr=False)

    def require(self, *names: str) -> None:
        """Raise ``ConfigurationError`` that names every one of ``names`` that is not set."""
        missing = [name for name in names if not getattr(self, name)]
        if missing:
            flags = ", ".join(f"--{name.replace('_', '-')} ({variable_of(name)})" for name in missing)
            raise ConfigurationError(
                f"not set: {flags}", hint=f"give a flag, set the variable, or write it into {CONFIG_FILE}"
            )

    def databases(self) -> dict[Side, str]:
        """The URLs of both databases. Raises ``ConfigurationError`` where one is not set."""
        self.require("supabase_db_url", "isobase_db_url")
        assert self.supabase_db_url is not None
        assert self.isobase_db_url is not None
        return {Side.SUPABASE: self.supabase_db_url, Side.ISOBASE: self.isobase_db_url}


def known_databases(places: Places) -> dict[Side, str]:
    """The URLs of both databases, or of none where one is not set."""
    if places.supabase_db_url is None or places.isobase_db_url is None:
        return {}
    return places.databases()


def variable_of(name: str) -> str:
    """The environment variable of a place."""
    return name.upper()


def places_of(parsed: argparse.Namespace, environment: Mapping[str, str] | None = None) -> Places:
    """Where the sides are: flags above variables above the file. Raises ``ConfigurationError``."""
    environment = os.environ if environment is None else environment
    written = _read_config(parsed.config, environment)
    values: dict[str, str] = {}
    for one in fields(Places):
        value = getattr(parsed, one.name, None) or environment.get(variable_of(one.name)) or written.get(one.name)
        if value:
            values[one.name] = value
            _check(one.name, value)
    for name in ("supabase_db_url", "isobase_db_url"):
        if name in values:
            try:
                check_db_url(variable_of(name), values[name])
            except SettingsError as error:
                raise ConfigurationError(str(error)) from None
    return Places(**values)


def _check(name: str, value: str) -> None:
    """Refuse an address that cannot be one, before anything is asked. The value may hold a password: it is not shown."""
    schemes = ("postgresql://", "postgres://") if name.endswith("db_url") else ("http://", "https://")
    if name.endswith("url") and not value.startswith(schemes):
        raise ConfigurationError(
            f"--{name.replace('_', '-')} ({variable_of(name)}) does not begin with {' or '.join(schemes)}"
        )


def _read_config(path: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    if path is None and not CONFIG_FILE.is_file():
        return {}
    path = path or CONFIG_FILE
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    known = {one.name for one in fields(Places)}
    values: dict[str, str] = {}
    for side in Side:
        table = content.get(side.value, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"{path}: [{side.value}] is a table")
        for name, value in table.items():
            place = f"{side.value}_{name}"
            if place not in known or not isinstance(value, str):
                raise ConfigurationError(
                    f"{path}: [{side.value}] {name} is not known", hint="url, db_url, key and service_role_key are"
                )
            named = _ENV.fullmatch(value)
            # An unset variable leaves the place unset; what needs it says so by its name.
            values[place] = environment.get(named[1], "") if named else value
    return values


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a command's work, with what both sides may answer turned into the house's errors.

    Ctrl-C cancels it: everything that it has open is ended in order before the command ends with 130.
    """
    return asyncio.run(_mapped(work))


async def _mapped(work: Coroutine[Any, Any, _Result]) -> _Result:
    try:
        return await work
    except IsobaseError:
        raise
    except Refused as error:
        raise BadRequest(error.message, hint=error.hint) from error
    except (ChangeRefused, HandoverRefused, TooManyRemovals, UserConflict) as error:
        raise BadRequest(str(error)) from error
    except WriterMoved as error:
        raise BadRequest(f"a writer moved meanwhile: {error}", hint="call it again") from error
    except (AuthTablesDiffer, NotInstalled, SettingsError) as error:
        raise ConfigurationError(str(error)) from error
    except (ControlAway, OutboxAway) as error:
        raise Unavailable(str(error), hint="is its address right, and does it run?") from error
    except asyncpg.UndefinedTableError as error:
        hint = "does Isobase's database have its schema? Start Isobase on it once, or see docs/migration.md"
        raise ConfigurationError(reason_of(error), hint=hint) from error
    except SideAway as error:
        variable, side = variable_of(f"{error.side}_db_url"), error.side.title()
        if error.is_login:
            raise ConfigurationError(
                f"{side}'s database refuses the login: {error.reason}",
                hint=f"role, password and name are in {variable}",
            ) from error
        raise Unavailable(
            f"{side}'s database is out of reach: {error.reason}",
            hint=f"is the address in {variable} right, and does it run?",
        ) from error
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise ConfigurationError(f"a database refuses the login: {reason_of(error)}") from error
    except StoreError as error:
        raise Unavailable(f"storage: {error}") from error
    except asyncpg.PostgresError as error:
        raise Unavailable(f"PostgreSQL: {reason_of(error)}") from error
    except (OSError, TimeoutError, asyncpg.InterfaceError, httpx.TransportError) as error:
        raise Unavailable(
            f"a side is out of reach: {reason_of(error)}", hint="is its address right, and does it run?"
        ) from error


def on_signals(stop: Callable[[], None]) -> None:
    """Have the first Ctrl-C or SIGTERM call ``stop``, the second end the command."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(one)
        print("finishing; Ctrl-C once more ends at once", file=sys.stderr)  # noqa: T201  the command's voice
        stop()

    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, first)


def answer(parsed: argparse.Namespace, value: Mapping[str, Any], text: Callable[[], str]) -> None:
    """Print a command's answer in the form that was asked for; secrets that slipped in are masked."""
    written = json.dumps(value, indent=2, default=str, ensure_ascii=False) if parsed.output == "json" else text()
    try:
        print(mask_secrets(written), flush=True)  # noqa: T201  the command's answer
    except BrokenPipeError:
        # Whoever read along has seen enough (isobase migrate plan | head): the work was done all the same.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def terminal_width() -> int | None:
    """How many columns the terminal has, None where the answer goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def write_report(path: Path | None, text: str) -> None:
    """Write a report file, where one was asked for."""
    if path is not None:
        path.write_text(text)
