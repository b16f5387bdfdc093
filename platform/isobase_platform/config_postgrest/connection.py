"""libpq's connection strings as one URL that the drivers here understand, completed from libpq's environment variables.

Source: PostgreSQL documentation, "Connection Strings" and "Environment Variables" of libpq.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from isobase_platform.errors import ConfigurationError

__all__ = ["LIBPQ_ONLY", "connection_url"]

_SCHEMES = ("postgresql://", "postgres://")
_PAIR = re.compile(r"\s*([^\s=]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)")
_ENVIRONMENT = {
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "timezone": "PGTZ",
    "sslmode": "PGSSLMODE",
    "passfile": "PGPASSFILE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
LIBPQ_ONLY = frozenset(
    {
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "gssdelegation",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "min_protocol_version",
        "max_protocol_version",
        "replication",
        "require_auth",
        "requirepeer",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
"""Parameters that only libpq's own connection code heeds; the server would refuse them as settings of a session."""


def connection_url(text: str, environment: Mapping[str, str]) -> str:
    """``text`` (a URI, or ``key=value`` pairs) as a URL with everything in it that ``environment`` adds.

    Raises ``ConfigurationError``, which never repeats the text, for what libpq could not read either.
    """
    if text.startswith(_SCHEMES):
        parameters = _uri_parameters(text)
    elif "=" in text:
        parameters = _pairs(text)
    else:
        raise ConfigurationError("db-uri is neither a URI (postgresql://...) nor made of key=value pairs")
    if "service" in parameters:
        raise ConfigurationError("db-uri names a service file, which is not read; give host, user and dbname")
    for name, variable in _ENVIRONMENT.items():
        if name not in parameters and environment.get(variable):
            parameters[name] = environment[variable]
    if "fallback_application_name" in parameters:
        parameters.setdefault("application_name", parameters.pop("fallback_application_name"))
    return _url({name: value for name, value in parameters.items() if name not in LIBPQ_ONLY})


def _uri_parameters(text: str) -> dict[str, str]:
    try:
        parts = urlsplit(text)
        pairs = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise ConfigurationError("db-uri is not a valid URI") from error
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    hosts = [_place(place) for place in places.split(",")] if places else []
    found = {
        "user": unquote(user),
        "password": unquote(password),
        "host": ",".join(unquote(host) for host, _ in hosts),
        "port": ",".join(port for _, port in hosts) if any(port for _, port in hosts) else "",
        "dbname": unquote(parts.path.removeprefix("/")),
    }
    return {name: value for name, value in found.items() if value} | pairs


def _place(text: str) -> tuple[str, str]:
    """(host, port) of one place; an IPv6 address loses its brackets."""
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        return address, rest.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        pair = _PAIR.match(text, at)
        if pair is None:
            raise ConfigurationError("db-uri is not made of key=value pairs as libpq reads them")
        name, quoted, plain = pair.groups()
        found[name] = re.sub(r"\\(.)", r"\1", plain if quoted is None else quoted)
        at = pair.end()
    return found


def _url(parameters: dict[str, str]) -> str:
    """The parameters as a URL. Hosts travel in the query, where a socket's directory can stand too."""
    login = quote(parameters.pop("user", ""), safe="")
    if password := parameters.pop("password", ""):
        login += f":{quote(password, safe='')}"
    database = quote(parameters.pop("dbname", ""), safe="")
    place = f"{login}@" if login else ""
    query = urlencode({name: value for name, value in parameters.items() if value}, quote_via=quote)
    return f"postgresql://{place}/{database}" + (f"?{query}" if query else "")
