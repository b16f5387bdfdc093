"""GET and POST /admin/users; GET, PUT and DELETE /admin/users/{user_id}."""

from __future__ import annotations

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.flows import admin_users
from isobase_services.auth.flows.access import admin_of
from isobase_services.auth.flows.admin_users import UserFields, UserPage
from isobase_services.auth.request import Body, Request
from isobase_services.auth.v1.paging import Page, bad_parameters, page_headers, read_page
from isobase_services.auth.v1.render import json_response, user_body

__all__ = ["delete_user", "get_user", "get_users", "guard_one_user", "post_users", "put_user"]


async def guard_one_user(core: AuthCore, request: Request) -> None:
    """What stands before every route under a user, known or not: the user is there."""
    await admin_users.get_user(core, request.path_params["user_id"])


async def get_users(core: AuthCore, request: Request) -> Response:
    """A page of the users, with ``X-Total-Count`` and ``Link``."""
    await admin_of(core, request.bearer)
    page = _page(request)
    audience = request.audience()
    found, total = await admin_users.list_users(core, audience, page)
    headers = page_headers(request, Page(page.page, page.per_page), total)
    return json_response(
        {"users": [user_body(user, is_listed=True) for user in found], "aud": audience}, headers=headers
    )


async def post_users(core: AuthCore, request: Request) -> Response:
    """Create a user: 200 with the user."""
    admin = await admin_of(core, request.bearer)
    fields = _fields(await request.body())
    return json_response(user_body(await admin_users.create_user(core, admin, fields, request.audience())))


async def get_user(core: AuthCore, request: Request) -> Response:
    """One user."""
    await admin_of(core, request.bearer)
    return json_response(user_body(await admin_users.get_user(core, request.path_params["user_id"])))


async def put_user(core: AuthCore, request: Request) -> Response:
    """Change a user: 200 with the user."""
    admin = await admin_of(core, request.bearer)
    user = await admin_users.get_user(core, request.path_params["user_id"])
    fields = _fields(await request.body())
    return json_response(user_body(await admin_users.update_user(core, admin, user, fields)))


async def delete_user(core: AuthCore, request: Request) -> Response:
    """Delete a user, softly where the body says ``should_soft_delete``: 200 with an empty object."""
    admin = await admin_of(core, request.bearer)
    user = await admin_users.get_user(core, request.path_params["user_id"])
    body = await request.optional_body()
    await admin_users.delete_user(core, admin, user, is_soft=body.flag("should_soft_delete"))
    return json_response({})


def _fields(body: Body) -> UserFields:
    return UserFields(
        id=body.text("id"),
        aud=body.text("aud"),
        role=body.text("role"),
        email=body.text("email"),
        phone=body.text("phone"),
        password=body.optional_text("password"),
        password_hash=body.text("password_hash"),
        email_confirm=body.flag("email_confirm"),
        phone_confirm=body.flag("phone_confirm"),
        user_metadata=body.object("user_metadata"),
        app_metadata=body.object("app_metadata"),
        ban_duration=body.text("ban_duration"),
    )


def _page(request: Request) -> UserPage:
    # Only the last field decides; upstream allows this one alone.
    is_ascending = False
    for name, value in request.query_items():
        if name != "sort":
            continue
        field, _, direction = value.partition(" ")
        if field != "created_at":
            raise bad_parameters("Sort", f"bad field for sort '{field}'")
        if direction.upper() not in ("", "ASC", "DESC"):
            raise bad_parameters("Sort", f"bad direction for sort '{direction}', only 'asc' and 'desc' allowed")
        is_ascending = direction.upper() == "ASC"
    page = read_page(request)
    return UserPage(page=page.number, per_page=page.size, text=request.query("filter"), is_ascending=is_ascending)
