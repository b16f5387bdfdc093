"""The administration of OAuth clients, and how a program registers itself. Contracts auth §1."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.flows import oauth_clients
from isobase_services.auth.flows.access import admin_of
from isobase_services.auth.flows.oauth_clients import ClientChanges, ClientRequest
from isobase_services.auth.request import Request
from isobase_services.auth.store.oauth_clients import OAuthClient
from isobase_services.auth.v1.render import json_response, rfc3339

__all__ = [
    "delete_client",
    "get_client",
    "get_clients",
    "post_client",
    "post_dynamic_client",
    "post_regenerate_secret",
    "put_client",
]


async def get_clients(core: AuthCore, request: Request) -> Response:
    """All clients; where there are none, the list is left out, as upstream does."""
    await _admit(core, request)
    clients = [client_body(client) for client in await oauth_clients.list_clients(core)]
    return json_response({"clients": clients} if clients else {})


async def post_client(core: AuthCore, request: Request) -> Response:
    """Register a client: 201 with its secret, shown this once."""
    await _admit(core, request)
    client, secret = await oauth_clients.register_client(core, await _wanted(request), "manual")
    return json_response(client_body(client, secret), 201)


async def post_dynamic_client(core: AuthCore, request: Request) -> Response:
    """A program registers itself: 201. 403 oauth_dynamic_client_registration_disabled where that is off."""
    oauth_clients.check_oauth_server_enabled(core)
    client, secret = await oauth_clients.register_client(core, await _wanted(request), "dynamic")
    return json_response(client_body(client, secret), 201)


async def get_client(core: AuthCore, request: Request) -> Response:
    """One client, without its secret."""
    return json_response(client_body(await _client(core, request)))


async def put_client(core: AuthCore, request: Request) -> Response:
    """Change a client."""
    client = await _client(core, request)
    body = await request.body()
    changes = ClientChanges(
        redirect_uris=body.texts("redirect_uris"),
        grant_types=body.texts("grant_types"),
        auth_method=body.optional_text("token_endpoint_auth_method"),
        name=body.optional_text("client_name"),
        uri=body.optional_text("client_uri"),
        logo_uri=body.optional_text("logo_uri"),
    )
    return json_response(client_body(await oauth_clients.change_client(core, client, changes)))


async def delete_client(core: AuthCore, request: Request) -> Response:
    """Delete a client: 204."""
    await oauth_clients.delete_client(core, await _client(core, request))
    return Response(status_code=204)


async def post_regenerate_secret(core: AuthCore, request: Request) -> Response:
    """Another secret for a client: 200 with it, shown this once."""
    client, secret = await oauth_clients.regenerate_secret(core, await _client(core, request))
    return json_response(client_body(client, secret))


async def _admit(core: AuthCore, request: Request) -> None:
    await admin_of(core, request.bearer)
    oauth_clients.check_oauth_server_enabled(core)


async def _client(core: AuthCore, request: Request) -> OAuthClient:
    await _admit(core, request)
    return await oauth_clients.get_client(core, request.path_params["client_id"])


async def _wanted(request: Request) -> ClientRequest:
    body = await request.body()
    return ClientRequest(
        redirect_uris=body.texts("redirect_uris") or (),
        grant_types=body.texts("grant_types") or (),
        client_type=body.text("client_type"),
        auth_method=body.text("token_endpoint_auth_method"),
        name=body.text("client_name"),
        uri=body.text("client_uri"),
        logo_uri=body.text("logo_uri"),
    )


def client_body(client: OAuthClient, secret: str = "") -> dict[str, Any]:
    """The client object, with ``secret`` where one was just made."""
    body: dict[str, Any] = {"client_id": str(client.id)}
    if secret:
        body["client_secret"] = secret
    body["client_type"] = client.client_type
    optional = {
        "redirect_uris": list(client.redirect_uris),
        "token_endpoint_auth_method": client.auth_method,
        "grant_types": list(client.grant_types),
        "response_types": ["code"],
        "client_name": client.name,
        "client_uri": client.uri,
        "logo_uri": client.logo_uri,
        "registration_type": client.registration_type,
    }
    body |= {name: value for name, value in optional.items() if value}
    body["created_at"] = rfc3339(client.created_at)
    body["updated_at"] = rfc3339(client.updated_at)
    return body
