"""Values of PostgREST's options from the database, the environment and a configuration file, checked as upstream does."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from isobase_platform.claim_path import parse_claim_path, write_claim_path
from isobase_platform.config_postgrest.configuration_file import FileValue, load_file
from isobase_platform.config_postgrest.options import ALL, APP_SETTINGS, Kind, Option, Value, variable_name
from isobase_platform.errors import ConfigurationError
from isobase_platform.jwk_set import parse_jwt_secret

__all__ = ["Options", "Sources", "read_text"]

_APP_VARIABLE = "PGRST_APP_SETTINGS_"
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*")
_SOCKET_MODES = range(0o600, 0o777 + 1)
MAX_PORT = 65_535


@dataclass(slots=True, frozen=True)
class Options:
    """A value for every option, by its name, and the settings for every transaction in the order of their names."""

    values: Mapping[str, Value]
    app_settings: Mapping[str, str]


@dataclass(slots=True, frozen=True)
class Sources:
    """Where values come from beside the database: the environment and, where one is named, a file."""

    environment: Mapping[str, str]
    path: Path | None = None

    def read(self, in_database: Mapping[str, str] | None = None, *, database_uri: str | None = None) -> Options:
        """All values; ``in_database`` holds the database's, by names such as ``db_schemas``, and wins.

        The file, and the files that ``@`` names, are read anew on every call, but for ``database_uri`` where it is known
        already. Raises ``ConfigurationError``.
        """
        variables = {name: value for name, value in self.environment.items() if name.startswith("PGRST_")}
        file = {} if self.path is None else load_file(self.path, self.environment)
        reading = _Reading(variables, file, in_database or {})
        values = {option.name: reading.value(option) for option in ALL}
        if values["admin-server-host"] is None:
            values["admin-server-host"] = values["server-host"]
        values |= _secret(values["jwt-secret"], is_base64=values["jwt-secret-is-base64"])
        values["db-uri"] = database_uri or _uri(values["db-uri"])
        app = {name: _shown(value) for name, value in file.items() if name.startswith(APP_SETTINGS)}
        for name, text in variables.items():
            if name.startswith(_APP_VARIABLE):
                app[APP_SETTINGS + name.removeprefix(_APP_VARIABLE)] = text
        _check(values)
        return Options(values, dict(sorted(app.items())))


@dataclass(slots=True, frozen=True)
class _Reading:
    variables: Mapping[str, str]
    file: Mapping[str, FileValue] = field(repr=False)
    database: Mapping[str, str]

    def value(self, option: Option) -> Value:
        found = self._named(option, option.name)
        if found is None and option.alias is not None:
            found = self._named(option, option.alias)
        return option.default if found is None else found

    def _named(self, option: Option, name: str) -> Value:
        raw: FileValue | None = self.database.get(name.replace("-", "_")) if option.is_in_database else None
        if raw is None:
            raw = self.variables.get(variable_name(name))
        if raw is None:
            raw = self.file.get(name)
        return None if raw is None else _converted(option, raw)


def read_text(option: Option, text: str) -> Value:
    """The value of one option's text, None for what counts as not given. Raises ``ConfigurationError``."""
    value = _converted(option, text)
    _check({option.name: value})
    return value


def _converted(option: Option, raw: FileValue) -> Value:
    match option.kind:
        case Kind.FLAG:
            return _flag(raw)
        case Kind.NUMBER:
            return _number(raw)
    text = _shown(raw)
    if text == "":
        return () if option.kind is Kind.LIST_OR_NONE else None
    if option.kind is not Kind.TEXT:
        return tuple(part.strip() for part in text.split(","))
    if option.choices and text not in option.choices:
        raise _refused(option.refusal)
    if option.name == "jwt-role-claim-key":
        try:
            return write_claim_path(parse_claim_path(text))
        except ValueError as error:
            raise _refused(str(error)) from error
    return text


def _flag(raw: FileValue) -> bool | None:
    """True and false in any case and decoration, or a number, which is true above 0."""
    if isinstance(raw, bool):
        return raw
    if not isinstance(raw, str):
        return None
    letters = "".join(letter for letter in raw if letter.isalpha()).lower()
    if letters in {"true", "false"}:
        return letters == "true"
    return int(raw) > 0 if re.fullmatch(r"\s*-?\d{1,18}\s*", raw) else None


def _number(raw: FileValue) -> int | None:
    if isinstance(raw, float) and not isinstance(raw, bool):
        return int(raw) if raw.is_integer() else None
    return int(raw) if isinstance(raw, str) and re.fullmatch(r"\s*-?\d{1,18}\s*", raw) else None


def _shown(raw: FileValue) -> str:
    """A text; anything else as upstream shows values that should be texts."""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool):
        return f"Bool {raw}"
    return f"Number {raw}" if isinstance(raw, float) else f"List {raw}"


def _uri(value: Value) -> Value:
    """``@file`` stands for the file's content."""
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    try:
        return _content("db-uri", value).decode().strip()
    except UnicodeDecodeError as error:
        raise _refused(f"db-uri: the file {value[1:]} is not UTF-8") from error


def _secret(value: Value, *, is_base64: Value) -> dict[str, Value]:
    """``@file`` stands for the file's content without the end of its last line; bytes that are no text become base64."""
    if isinstance(value, str) and value.startswith("@"):
        content = _content("jwt-secret", value).removesuffix(b"\n")
        try:
            value = content.decode()
        except UnicodeDecodeError:
            value, is_base64 = base64.b64encode(content).decode(), True
    return {"jwt-secret": value, "jwt-secret-is-base64": is_base64}


def _content(name: str, value: str) -> bytes:
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise _refused(f"{name}: cannot read the file {value[1:]}: {error.strerror}") from error


def _check(values: Mapping[str, Value]) -> None:
    """What upstream refuses at start, in its words."""
    audience = values.get("jwt-aud")
    if isinstance(audience, str) and ":" in audience and not _URI.fullmatch(audience):
        raise _refused("jwt-aud should be a string or a valid URI")
    proxy = values.get("openapi-server-proxy-uri")
    if isinstance(proxy, str) and not _is_proxy(proxy):
        raise _refused("Malformed proxy uri, a correct example: https://example.com:8443/basePath")
    port = values.get("admin-server-port")
    if port is not None and port == values.get("server-port"):
        raise _refused("admin-server-port cannot be the same as server-port")
    mode = values.get("server-unix-socket-mode")
    if isinstance(mode, str):
        if not re.fullmatch(r"[0-7]+", mode):
            raise _refused("Invalid server-unix-socket-mode: not an octal")
        if int(mode, 8) not in _SOCKET_MODES:
            raise _refused("Invalid server-unix-socket-mode: needs to be between 600 and 777")
    secret = values.get("jwt-secret")
    if isinstance(secret, str) and "jwt-secret-is-base64" in values:
        parse_jwt_secret(secret, is_base64=bool(values["jwt-secret-is-base64"]))


def _is_proxy(text: str) -> bool:
    """An http or https URL without user, query and fragment."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    has_place = bool(parts.hostname) and "@" not in parts.netloc and (port is None or 0 < port <= MAX_PORT)
    return parts.scheme.lower() in {"http", "https"} and has_place and "?" not in text and "#" not in text


def _refused(reason: str) -> ConfigurationError:
    return ConfigurationError(f"Error in config {reason}")


def standard_base64(text: str) -> str:
    """Base64 in its standard form, as a dump shows a secret."""
    plain = text.strip().replace("_", "/").replace("-", "+").replace(".", "=")
    try:
        return base64.b64encode(base64.b64decode(plain)).decode()
    except (binascii.Error, ValueError):
        return text
