"""The admin API: users, links and invitations, against a running auth server."""

from __future__ import annotations

from uuid import uuid4

import pytest

from isobase.auth import AsyncGoTrueAdminAPI, AsyncGoTrueClient
from isobase.auth.errors import AuthApiError
from tests.plugins.mailbox import link_in
from tests.sdk.auth._async.conftest import MakeClient
from tests.sdk.auth._async.tools import PASSWORD, new_address
from tests.sdk.auth.conftest import AuthService

NO_ID = "not an id"


@pytest.mark.capability("auth.admin.create_user", "auth.admin.get_user")
async def test_an_admin_makes_a_user_with_metadata_who_can_be_read_again(admin: AsyncGoTrueAdminAPI) -> None:
    email, own_id = new_address(), str(uuid4())
    made = await admin.create_user(
        {
            "id": own_id,
            "email": email,
            "password": PASSWORD,
            "email_confirm": True,
            "user_metadata": {"name": "Ann"},
            "app_metadata": {"roles": ["editor"]},
        }
    )
    assert made.user.id == own_id
    read = (await admin.get_user_by_id(own_id)).user
    assert read.email == email
    assert read.user_metadata == {"name": "Ann", "email_verified": True}
    assert read.app_metadata["roles"] == ["editor"]
    assert read.email_confirmed_at is not None


@pytest.mark.capability("auth.admin.create_user")
async def test_a_user_of_an_admin_can_sign_in(admin: AsyncGoTrueAdminAPI, make_client: MakeClient) -> None:
    email = new_address()
    made = await admin.create_user({"email": email, "password": PASSWORD, "email_confirm": True})
    client = await make_client(sign_up=False)
    signed_in = await client.sign_in_with_password({"email": email, "password": PASSWORD})
    assert signed_in.user is not None
    assert signed_in.user.id == made.user.id


async def test_an_address_that_is_taken_is_refused_with_its_code(admin: AsyncGoTrueAdminAPI) -> None:
    email = new_address()
    await admin.create_user({"email": email})
    with pytest.raises(AuthApiError) as refused:
        await admin.create_user({"email": email})
    assert (refused.value.status, refused.value.code) == (422, "email_exists")


@pytest.mark.capability("auth.admin.update_user")
async def test_an_admin_changes_a_user(admin: AsyncGoTrueAdminAPI) -> None:
    user = (await admin.create_user({"email": new_address()})).user
    email = new_address()
    changed = await admin.update_user_by_id(
        user.id, {"email": email, "user_metadata": {"color": "yellow"}, "ban_duration": "24h", "role": "editor"}
    )
    assert (changed.user.email, changed.user.user_metadata["color"], changed.user.role) == (email, "yellow", "editor")
    assert changed.user.banned_until is not None


@pytest.mark.capability("auth.admin.delete_user")
async def test_a_deleted_user_is_gone(admin: AsyncGoTrueAdminAPI) -> None:
    user = (await admin.create_user({"email": new_address()})).user
    await admin.delete_user(user.id)
    with pytest.raises(AuthApiError) as gone:
        await admin.get_user_by_id(user.id)
    assert (gone.value.status, gone.value.code) == (404, "user_not_found")


@pytest.mark.capability("auth.admin.delete_user")
async def test_a_softly_deleted_user_stays_without_their_address(admin: AsyncGoTrueAdminAPI) -> None:
    user = (await admin.create_user({"email": new_address()})).user
    await admin.delete_user(user.id, should_soft_delete=True)
    left = (await admin.get_user_by_id(user.id)).user
    assert left.deleted_at is not None
    assert left.email != user.email


@pytest.mark.capability("auth.admin.list_users")
async def test_users_come_in_pages_that_know_their_place(admin: AsyncGoTrueAdminAPI) -> None:
    made = [(await admin.create_user({"email": new_address()})).user.id for _ in range(3)]
    first = await admin.list_users(page=1, per_page=2)
    assert isinstance(first, list)
    assert len(first) == 2
    assert first.next_page == 2
    assert first.total >= 3
    assert first.last_page == -(-first.total // 2)
    last = await admin.list_users(page=first.last_page, per_page=2)
    assert last.next_page is None
    assert set(made) <= {user.id for user in await admin.list_users(per_page=1000)}


@pytest.mark.capability("auth.admin.list_users")
async def test_a_walk_over_all_users_meets_each_of_them(admin: AsyncGoTrueAdminAPI) -> None:
    made = {(await admin.create_user({"email": new_address()})).user.id for _ in range(5)}
    total = (await admin.list_users()).total
    met = [user.id async for user in admin.iter_users(per_page=max(2, total // 3))]
    assert made <= set(met)
    assert len(met) == len(set(met)) == total


@pytest.mark.capability("auth.admin.invite_user")
async def test_an_invited_user_gets_a_mail_whose_link_leads_where_it_should(
    admin: AsyncGoTrueAdminAPI, auth_service: AuthService
) -> None:
    email = new_address()
    invited = await admin.invite_user_by_email(
        email, {"redirect_to": "https://127.0.0.1:3000", "data": {"team": "blue"}}
    )
    assert invited.user.invited_at is not None
    assert invited.user.user_metadata == {"team": "blue"}
    assert "redirect_to=https" in link_in(auth_service.mail_for(email))


@pytest.mark.capability("auth.admin.generate_link")
async def test_a_link_signs_its_user_in(admin: AsyncGoTrueAdminAPI, make_client: MakeClient) -> None:
    email = new_address()
    link = await admin.generate_link({"type": "magiclink", "email": email, "options": {"data": {"team": "blue"}}})
    assert link.properties.verification_type in ("magiclink", "signup")
    assert link.properties.hashed_token in link.properties.action_link
    client = await make_client(sign_up=False)
    signed_in = await client.verify_otp({"token_hash": link.properties.hashed_token, "type": "email"})
    assert signed_in.user is not None
    assert signed_in.user.id == link.user.id


@pytest.mark.capability("auth.admin.generate_link")
@pytest.mark.parametrize("kind", ["signup", "invite", "recovery", "email_change_current", "email_change_new"])
async def test_a_link_of_each_kind_can_be_made(admin: AsyncGoTrueAdminAPI, kind: str) -> None:
    email = new_address()
    if kind in ("recovery", "email_change_current", "email_change_new"):
        await admin.create_user({"email": email, "email_confirm": True})
    params = {"type": kind, "email": email, "password": PASSWORD, "new_email": new_address()}
    link = await admin.generate_link(params)  # type: ignore[arg-type]  # of each kind one
    assert link.properties.verification_type == kind
    assert link.properties.email_otp not in repr(link)


@pytest.mark.capability("auth.admin.sign_out")
async def test_an_admin_ends_a_users_sessions(admin: AsyncGoTrueAdminAPI, make_client: MakeClient) -> None:
    client = await make_client()
    session = await client.get_session()
    assert session is not None
    await admin.sign_out(session.access_token)
    with pytest.raises(AuthApiError) as ended:
        await client.get_user(session.access_token)
    assert ended.value.code == "session_not_found"


async def test_admin_calls_keep_their_key_while_somebody_signs_in_beside_them(
    auth_service: AuthService,
) -> None:
    async with AsyncGoTrueClient(
        url=auth_service.url, headers=auth_service.admin_headers, auto_refresh_token=False
    ) as service:
        await service.sign_up({"email": new_address(), "password": PASSWORD})
        assert (await service.admin.list_users()).total > 0
        await service.sign_out()
        assert (await service.admin.list_users()).total > 0


async def test_an_apps_key_is_no_admins(auth_service: AuthService) -> None:
    async with AsyncGoTrueAdminAPI(url=auth_service.url, headers=auth_service.anon_headers) as api:
        with pytest.raises(AuthApiError) as refused:
            await api.list_users()
    assert (refused.value.status, refused.value.code) == (403, "not_admin")


async def test_what_is_no_id_is_refused_before_it_is_sent(admin: AsyncGoTrueAdminAPI) -> None:
    nobody = str(uuid4())
    for call in (
        lambda: admin.get_user_by_id(NO_ID),
        lambda: admin.update_user_by_id(NO_ID, {}),
        lambda: admin.delete_user(NO_ID),
        lambda: admin.mfa.list_factors({"user_id": NO_ID}),
        lambda: admin.mfa.delete_factor({"user_id": nobody, "id": NO_ID}),
        lambda: admin.oauth.get_client(NO_ID),
        lambda: admin.passkey.list_passkeys({"user_id": NO_ID}),
        lambda: admin.passkey.delete_passkey({"user_id": nobody, "passkey_id": NO_ID}),
    ):
        with pytest.raises(ValueError, match="is not a valid uuid"):
            await call()


async def test_isobase_says_that_it_keeps_no_providers(admin: AsyncGoTrueAdminAPI) -> None:
    with pytest.raises(AuthApiError) as off:
        await admin.custom_providers.list_providers()
    assert (off.value.status, off.value.code) == (404, "feature_disabled")
