"""Plan: who may read and write a table's rows, as the SQL of its policies and grants. Pure.

Source: Supabase's guide to row-level security for the form ``(select auth.uid())``, which PostgreSQL evaluates once per
statement and not per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from isobase_platform.errors import BadRequest
from isobase_platform.sql import quote_identifier, quote_literal
from isobase_services.database.dynamic.expressions import check_text
from isobase_services.database.dynamic.models import Access, PolicyCommand, PolicyRole, PolicySpec

__all__ = ["KEEP_OWNER_TRIGGER", "access_sql", "check_policies", "policy_expressions", "policy_sql"]

KEEP_OWNER_TRIGGER = "keep_owner"
"""The trigger of tables whose rows members change though another made them."""

_OWN = "owner = (select auth.uid())"
_GRANTS = {
    Access.PUBLIC_READ: ("select",),
    Access.PUBLIC: ("select", "insert"),
}
"""What anon is granted by a preset; authenticated may then ask for everything."""
_ALL_RIGHTS = ("select", "insert", "update", "delete")


def check_policies(access: Access, policies: Sequence[PolicySpec]) -> None:
    """Do the parts of policies fit together, and is each expression one? Raises ``BadRequest``."""
    if policies and access is not Access.CUSTOM:
        raise BadRequest("Only a table whose access is custom has policies of its own", code="invalid_policy")
    for number, policy in enumerate(policies, 1):
        takes_using = policy.command is not PolicyCommand.INSERT
        takes_check = policy.command in {PolicyCommand.INSERT, PolicyCommand.UPDATE, PolicyCommand.ALL}
        for text, is_taken, what in ((policy.using, takes_using, "using"), (policy.check, takes_check, "check")):
            if text is not None and not is_taken:
                raise BadRequest(f"A policy for {policy.command} has no {what}", code="invalid_policy")
            if text is not None:
                check_text(text, f"{what} of policy {number}")
        if (policy.using if takes_using else policy.check) is None:
            what = "using" if takes_using else "check"
            raise BadRequest(f"Policy {number} for {policy.command} needs {what}", code="invalid_policy")


def policy_expressions(policies: Sequence[PolicySpec]) -> list[tuple[str, str]]:
    """The expressions of policies, each with the name of its place."""
    return [
        (text, f"{what} of policy {number}")
        for number, policy in enumerate(policies, 1)
        for text, what in ((policy.using, "using"), (policy.check, "check"))
        if text is not None
    ]


def policy_sql(target: str, name: str, policy: PolicySpec) -> str:
    """CREATE POLICY with expressions that ``expressions.check_text`` let through: they cannot leave their brackets."""
    using = f" using (\n{policy.using}\n)" if policy.using is not None else ""
    check = f" with check (\n{policy.check}\n)" if policy.check is not None else ""
    roles = ", ".join(role.value for role in policy.roles)
    return f"create policy {quote_identifier(name)} on {target} for {policy.command.value} to {roles}{using}{check}"


def access_sql(target: str, database_id: UUID, access: Access, policies: Sequence[PolicySpec] = ()) -> tuple[str, ...]:
    """The statements that give a table without policies those of its access, and the grants that go with them."""
    if access is Access.CUSTOM:
        rights = {role: _rights(role, policies) for role in PolicyRole}
        made = tuple(policy_sql(target, f"custom {number}", one) for number, one in enumerate(policies, 1))
    else:
        rights = {PolicyRole.AUTHENTICATED: _ALL_RIGHTS, PolicyRole.ANON: _GRANTS.get(access, ())}
        made = _preset_sql(target, database_id, access)
    return (
        f"revoke all on {target} from public, anon, authenticated, service_role",
        f"grant {', '.join(_ALL_RIGHTS)} on {target} to service_role",
        *(f"grant {', '.join(found)} on {target} to {role.value}" for role, found in rights.items() if found),
        *made,
    )


def _rights(role: PolicyRole, policies: Sequence[PolicySpec]) -> tuple[str, ...]:
    commands = {policy.command for policy in policies if role in policy.roles}
    return (
        _ALL_RIGHTS
        if PolicyCommand.ALL in commands
        else tuple(right for right in _ALL_RIGHTS if PolicyCommand(right) in commands)
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
