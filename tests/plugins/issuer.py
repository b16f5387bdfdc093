"""An OpenID Connect issuer on the loopback that tests can make do anything, also what an honest one would never do."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from isobase_platform.keys import generate_jwk
from tests.plugins.listening import listening

PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi")
HOUR_S = 3600


def new_jwk(algorithm: str = "ES256") -> dict[str, Any]:
    """A private key; ES256 ones are made at once, RS256 ones take a moment."""
    return generate_jwk(algorithm)


def public(jwk: Mapping[str, Any]) -> dict[str, Any]:
    """The public half."""
    return {name: value for name, value in jwk.items() if name not in PRIVATE_MEMBERS} | {"key_ops": ["verify"]}


@dataclass(slots=True)
class LoopbackIssuer:
    """What it publishes is in ``published`` and ``document``, and may be changed at any time; ``requests`` counts paths."""

    url: str = ""
    jwk: dict[str, Any] = field(default_factory=new_jwk)
    published: list[dict[str, Any]] = field(default_factory=list)
    document: dict[str, Any] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    is_down: bool = False
    padding: str = ""

    def sign(self, claims: Mapping[str, Any], *, signed_by: Mapping[str, Any] | None = None, **headers: Any) -> str:
        """A token of ``claims`` by its key; what is not given is as an honest token would have it."""
        key = signed_by or self.jwk
        now_s = int(time.time())
        payload = {"iss": self.url, "sub": str(uuid.uuid4()), "iat": now_s, "exp": now_s + HOUR_S, **claims}
        material = jwt.PyJWK({**key}).key
        return jwt.encode(
            {name: value for name, value in payload.items() if value is not None},
            material,
            algorithm=key["alg"],
            headers={"kid": key["kid"], **headers},
        )

    @property
    def app(self) -> ASGIApp:
        """The issuer's HTTP face."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/keys", self._keys),
            ]
        )

    async def _discovery(self, request: Request) -> Response:
        self._count(request)
        if self.is_down:
            return Response(status_code=503)
        document = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            **self.document,
        }
        return JSONResponse(document)

    async def _keys(self, request: Request) -> Response:
        self._count(request)
        if self.is_down:
            return Response(status_code=503)
        return JSONResponse({"keys": self.published or [public(self.jwk)], "padding": self.padding})

    def _count(self, request: Request) -> None:
        self.requests[request.url.path] = self.requests.get(request.url.path, 0) + 1


@asynccontextmanager
async def running_issuer(**fields: Any) -> AsyncIterator[LoopbackIssuer]:
    """Serve an issuer on a free port of the loopback address."""
    issuer = LoopbackIssuer(**fields)
    async with listening(issuer.app) as url:
        issuer.url = url
        yield issuer
