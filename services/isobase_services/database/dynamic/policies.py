"""Plan: who may read and write a table's rows, as the SQL of its policies and grants. Pure.

Source: Supabase's guide to row-level security for the form ``(select auth.uid())``, which PostgreSQL evaluates once per
statement and not per row.
"""

from __future__ import annotations

from uuid import UUID

from isobase_platform.sql import quote_literal
from isobase_services.database.dynamic.models import Access

__all__ = ["KEEP_OWNER_TRIGGER", "access_sql"]

KEEP_OWNER_TRIGGER = "keep_owner"
"""The trigger of tables whose rows members change though another made them."""

_OWN = "owner = (select auth.uid())"
_GRANTS = {
    Access.PUBLIC_READ: ("select",),
    Access.PUBLIC: ("select", "insert"),
}
"""What anon is granted; authenticated may ask for everything."""


def access_sql(target: str, database_id: UUID, access: Access) -> tuple[str, ...]:
    """The statements that give a table without policies those of a preset, and the grants that go with them."""
    anon = _GRANTS.get(access, ())
    return (
        f"revoke all on {target} from public, anon, authenticated, service_role",
        f"grant select, insert, update, delete on {target} to authenticated, service_role",
        *((f"grant {', '.join(anon)} on {target} to anon",) if anon else ()),
        *_preset_sql(target, database_id, access),
    )


def _preset_sql(target: str, database_id: UUID, access: Access) -> tuple[str, ...]:
    role = f"(select isobase.database_role({quote_literal(str(database_id))}::uuid))"
    writes = f"{role} in ('owner', 'editor')"
    match access:
        case Access.PRIVATE:
            return (
                _policy(target, "own rows are read", "select", f"{role} is not null and {_OWN}"),
                *_write_policies(target, f"{writes} and {_OWN}", f"{writes} and {_OWN}"),
            )
        case Access.MEMBERS:
            read = _policy(target, "members read", "select", f"{role} is not null")
            return (read, *_write_policies(target, f"{writes} and {_OWN}", writes), _keep_owner(target))
        case Access.PUBLIC_READ:
            read = _policy(target, "everybody reads", "select", "true", "anon, authenticated")
            return (read, *_write_policies(target, f"{writes} and {_OWN}", writes), _keep_owner(target))
        case Access.PUBLIC:
            return (
                _policy(target, "everybody reads", "select", "true", "anon, authenticated"),
                f'create policy "anon inserts" on {target} for insert to anon with check (owner is null)',
                *_write_policies(target, _OWN, f"({_OWN} or {writes})"),
                _keep_owner(target),
            )
        case Access.CUSTOM:
            return ()


def _write_policies(target: str, inserts: str, changes: str) -> tuple[str, ...]:
    return (
        f'create policy "writers insert" on {target} for insert to authenticated with check ({inserts})',
        f'create policy "writers update" on {target} for update to authenticated using ({changes}) with check ({changes})',
        _policy(target, "writers delete", "delete", changes),
    )


def _policy(target: str, name: str, command: str, condition: str, roles: str = "authenticated") -> str:
    return f'create policy "{name}" on {target} for {command} to {roles} using ({condition})'


def _keep_owner(target: str) -> str:
    return (
        f"create trigger {KEEP_OWNER_TRIGGER} before update of owner on {target} for each row"
        " when (old.owner is distinct from new.owner and current_user in ('anon', 'authenticated'))"
        " execute function isobase.refuse_new_row_owner()"
    )
