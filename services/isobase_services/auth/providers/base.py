"""What every provider does for a sign-in: say where the browser goes, and turn what comes back into a profile.

The parts that providers share are here too: the address with its parameters, and the exchange of a code (by Authlib).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

from isobase_platform.errors import IsobaseError
from isobase_platform.outbound import OutboundError, OutboundHttp
from isobase_services.auth.providers.profile import Profile, ProviderTokens, as_object, as_text

__all__ = [
    "RESERVED_PARAMETERS",
    "Begun",
    "Callback",
    "Client",
    "CodeExchangeError",
    "Provider",
    "ProviderError",
    "ProviderRefusal",
    "SignedInAt",
    "authorize_url",
    "exchange_code",
    "joined_scopes",
]

RESERVED_PARAMETERS = frozenset(
    {
        *("client_id", "client_secret", "redirect_uri", "response_type", "state"),
        *("code_challenge", "code_challenge_method", "code_verifier"),
    }
)
"""Parameters of the provider's address that are ours alone; a caller who could set them could take the answer."""


class ProviderError(IsobaseError):
    """A provider cannot be asked, or its answer is of no use. The message is for the log."""

    default_code = "provider_failed"
    default_status = 502


class ProviderRefusal(IsobaseError):
    """A provider that is not there, or not set up; the message is upstream's and completes "Unsupported provider: "."""

    default_code = "provider_unsupported"
    default_status = 400


@dataclass(slots=True, frozen=True)
class Client:
    """Who we are to a provider."""

    name: str
    client_ids: tuple[str, ...]
    secret: str = field(repr=False)
    redirect_uri: str
    scopes: tuple[str, ...]

    @property
    def client_id(self) -> str:
        """The id that signs in with a redirect."""
        return self.client_ids[0]


@dataclass(slots=True, frozen=True)
class Begun:
    """Where the browser goes. ``secret`` is to be kept until it comes back: a PKCE verifier or a request token's secret."""

    url: str
    secret: str = field(default="", repr=False)


@dataclass(slots=True, frozen=True)
class Callback:
    """What a browser brought back from a provider, and the ``secret`` that was kept for it."""

    params: Mapping[str, str] = field(repr=False)
    secret: str = field(default="", repr=False)

    def text(self, name: str) -> str:
        """A parameter, empty where absent."""
        return self.params.get(name, "")


@dataclass(slots=True, frozen=True)
class SignedInAt:
    """The user at the provider, and the provider's tokens for the app."""

    profile: Profile
    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)


class Provider(Protocol):
    """One provider, set up."""

    name: str

    @property
    def answers_by_form(self) -> bool:
        """True where the browser comes back with a form of another site's, to which it adds no cookies of ours."""
        ...

    @property
    def needs_code(self) -> bool:
        """True where the way back carries ``code`` (OAuth 2)."""
        ...

    async def begin(self, state: str, extra: Mapping[str, str]) -> Begun:
        """Where to send the browser. ``extra`` are the caller's own parameters. Raises ``ProviderError``."""
        ...

    async def finish(self, callback: Callback) -> SignedInAt:
        """Who came back. Raises ``ProviderError``; ``CodeExchangeError`` where the code was not taken."""
        ...


class CodeExchangeError(ProviderError):
    """The provider did not take the code."""


def authorize_url(base: str, client: Client, state: str, parameters: Mapping[str, str]) -> str:
    """``base`` with our parameters and those of the caller that are not ours to set."""
    query = {name: value for name, value in parameters.items() if name.lower() not in RESERVED_PARAMETERS}
    query |= {
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "response_type": "code",
        "state": state,
        **{name: parameters[name] for name in ("code_challenge", "code_challenge_method") if name in parameters},
    }
    if client.scopes:
        query["scope"] = " ".join(client.scopes)
    return f"{base}{'&' if '?' in base else '?'}{urlencode(sorted(query.items()))}"


async def exchange_code(
    http: OutboundHttp, client: Client, url: str, callback: Callback, *, client_auth: str, verifier: str = ""
) -> ProviderTokens:
    """Swap the code for the provider's tokens. Raises ``CodeExchangeError``."""
    # Imported on first use: a process without providers does without the library's memory.
    from authlib.oauth2.auth import ClientAuth

    fields = {
        "grant_type": "authorization_code",
        "code": callback.text("code"),
        "redirect_uri": client.redirect_uri,
        **({"code_verifier": verifier} if verifier else {}),
    }
    headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
    # Authlib writes who we are into the headers or the body, as the provider wants it.
    prove = ClientAuth(client.client_id, client.secret, client_auth)
    url, headers, body = prove.prepare("POST", url, headers, urlencode(fields))
    try:
        status, content = await http.send("POST", url, headers=headers, content=body.encode())
    except OutboundError as error:
        raise CodeExchangeError(f"{client.name}: {error.message}") from error
    answer = _parsed(content)
    if not 200 <= status < 300 or "error" in answer:
        reason = as_text(answer.get("error")) or str(status)
        raise CodeExchangeError(f"{client.name} did not take the code: {reason}")
    access_token = as_text(answer.get("access_token"))
    if not access_token:
        raise CodeExchangeError(f"{client.name} gave no access token")
    return ProviderTokens(
        access_token, as_text(answer.get("refresh_token")), as_text(answer.get("id_token")), dict(answer)
    )


def _parsed(content: bytes) -> Mapping[str, Any]:
    """JSON, or a form, as a few providers still answer."""
    text = content.decode("utf-8", "replace")
    try:
        return as_object(json.loads(text))
    except (ValueError, RecursionError):
        return dict(parse_qsl(text))


def joined_scopes(own: Sequence[str], configured: Sequence[str], asked: str) -> tuple[str, ...]:
    """The provider's own scopes, those of the settings, and those that the caller asks for, separated by commas or blanks."""
    found = [*own, *configured, *asked.replace(",", " ").split()]
    return tuple(dict.fromkeys(found))
