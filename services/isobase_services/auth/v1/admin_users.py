"""GET and POST /admin/users; GET, PUT and DELETE /admin/users/{user_id}."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from starlette.responses import Response

from isobase_services.auth.core import AuthCore
from isobase_services.auth.errors import AuthError, ErrorCode, bad_request
from isobase_services.auth.flows import admin_users
from isobase_services.auth.flows.access import admin_of
from isobase_services.auth.flows.admin_users import UserFields, UserPage
from isobase_services.auth.request import Body, Request
from isobase_services.auth.v1.render import json_response, user_body

__all__ = ["delete_user", "get_user", "get_users", "post_users", "put_user"]

DEFAULT_PAGE_SIZE_ROWS = 50
_UNSIGNED = re.compile(r"[0-9]+")
MAX_UNSIGNED = 2**64 - 1
MAX_PAGE_SIZE_ROWS = 10_000
"""Upstream takes any ``per_page``. A larger page would only fill the memory; ``Link`` leads to the rest."""


async def get_users(core: AuthCore, request: Request) -> Response:
    """A page of the users, with ``X-Total-Count`` and ``Link``."""
    await admin_of(core, request.bearer)
    page = _page(request)
    audience = request.audience()
    found, total = await admin_users.list_users(core, audience, page)
    headers = {"link": _links(request, page, total), "x-total-count": str(total)}
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
            raise _bad_parameters("Sort", f"bad field for sort '{field}'")
        if direction.upper() not in ("", "ASC", "DESC"):
            raise _bad_parameters("Sort", f"bad direction for sort '{direction}', only 'asc' and 'desc' allowed")
        is_ascending = direction.upper() == "ASC"
    # Upstream's database layer reads a page of zero as the first, a size of zero as twenty.
    return UserPage(
        page=max(_unsigned(request.query("page"), 1), 1),
        per_page=min(_unsigned(request.query("per_page"), DEFAULT_PAGE_SIZE_ROWS) or 20, MAX_PAGE_SIZE_ROWS),
        text=request.query("filter"),
        is_ascending=is_ascending,
    )


def _unsigned(text: str, default: int) -> int:
    if not text:
        return default
    if not _UNSIGNED.fullmatch(text):
        raise _bad_parameters("Pagination", f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if len(text) > 20 or int(text) > MAX_UNSIGNED:
        raise _bad_parameters("Pagination", f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def _bad_parameters(kind: str, reason: str) -> AuthError:
    return bad_request(ErrorCode.VALIDATION_FAILED, f"Bad {kind} Parameters: {reason}")


def _links(request: Request, page: UserPage, total: int) -> str:
    """The ``Link`` header. auth-js reads the number between the first two "=", so ``page`` comes first: keys are sorted."""
    last = -(-total // page.per_page)
    query = dict(reversed(request.query_items()))
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))

    def link(number: int, relation: str) -> str:
        return f'<{path}?{urlencode(sorted({**query, "page": str(number)}.items()))}>; rel="{relation}"'

    links = [link(page.page + 1, "next")] if last > page.page else []
    return ", ".join([*links, link(last, "last")])
