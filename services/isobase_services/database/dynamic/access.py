"""Who may do what with databases and tables: the one place. Pure: who asks and what there is in, a verdict out.

Rows are not decided here but by the policies of their table; what is decided here about rows is only who is let through to
these policies at all. Neighbour: ``definition``, which writes the policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from uuid import UUID

from starlette.types import Scope

from isobase_platform.caller import ANON_ROLE, NO_CLAIMS, Caller
from isobase_platform.errors import Forbidden, NotFound, TokenError, TokenRefusal
from isobase_platform.http.request import bearer_token, request_facts
from isobase_platform.runtime import Platform
from isobase_services.database.dynamic.models import Access, Database, DatabaseRole

__all__ = ["Act", "Actor", "Standing", "Verdict", "actor_of", "decide", "require", "standing_of"]


@dataclass(slots=True, frozen=True)
class Actor:
    """Who asks. ``user_id`` is None for anon and for service_role."""

    caller: Caller
    user_id: UUID | None

    @property
    def is_anon(self) -> bool:
        """True for a request without a user's or the service's token."""
        return self.caller.role == ANON_ROLE


class Standing(Enum):
    """What the actor is to a database."""

    ANON = auto()
    STRANGER = auto()
    READER = auto()
    EDITOR = auto()
    OWNER = auto()
    SERVICE = auto()


class Act(Enum):
    """What is asked for."""

    CREATE_DATABASE = auto()
    SEE_DEFINITIONS = auto()
    CHANGE_TABLES = auto()
    CHANGE_ACCESS = auto()
    DELETE_DATABASE = auto()
    READ_ROWS = auto()
    INSERT_ROWS = auto()
    CHANGE_ROWS = auto()


class Verdict(Enum):
    """The answer; ``HIDDEN`` is a refusal to somebody who may not even know that there is something."""

    ALLOW = auto()
    SIGN_IN = auto()
    HIDDEN = auto()
    FORBIDDEN = auto()


_FULL = frozenset({Standing.OWNER, Standing.SERVICE})
_MEMBERS = _FULL | {Standing.READER, Standing.EDITOR}
_MAY = {
    Act.CREATE_DATABASE: _MEMBERS | {Standing.STRANGER},
    Act.SEE_DEFINITIONS: _MEMBERS,
    Act.CHANGE_TABLES: _FULL | {Standing.EDITOR},
    Act.CHANGE_ACCESS: _FULL,
    Act.DELETE_DATABASE: _FULL,
}
_BY_ROLE = {
    DatabaseRole.READER: Standing.READER,
    DatabaseRole.EDITOR: Standing.EDITOR,
    DatabaseRole.OWNER: Standing.OWNER,
}
# What may be asked of whose rows; the table's policies then decide. Anon is asked to sign in for the rest.
_ANON_MAY = {
    Act.READ_ROWS: frozenset({Access.PUBLIC_READ, Access.PUBLIC, Access.CUSTOM}),
    Act.INSERT_ROWS: frozenset({Access.PUBLIC, Access.CUSTOM}),
    Act.CHANGE_ROWS: frozenset({Access.CUSTOM}),
}
_HIDDEN_FROM_STRANGERS = frozenset({Access.PRIVATE, Access.MEMBERS})


def actor_of(platform: Platform, scope: Scope) -> Actor:
    """Who sends a request; anon without a bearer token.

    Raises ``TokenError`` (401) for a token that does not verify, and for a user's token without a user's id.
    """
    token = bearer_token(scope)
    claims = platform.verifier.verify(token) if token is not None else NO_CLAIMS
    caller = Caller(claims.role or ANON_ROLE, claims, request_facts(scope))
    if caller.role == ANON_ROLE or caller.is_service:
        return Actor(caller, None)
    try:
        return Actor(caller, UUID(claims.sub or ""))
    except ValueError as error:
        raise TokenError("The token names no user", TokenRefusal.CLAIMS) from error


def standing_of(actor: Actor, database: Database | None) -> Standing:
    """What the actor is to ``database``; None stands for one that is yet to be made."""
    if actor.caller.is_service:
        return Standing.SERVICE
    if actor.user_id is None:
        return Standing.ANON
    if database is None:
        return Standing.STRANGER
    return Standing.STRANGER if database.role is None else _BY_ROLE[database.role]


def decide(standing: Standing, act: Act, access: Access | None = None) -> Verdict:
    """The verdict; ``access`` is the table's where the act is about rows."""
    if standing is Standing.ANON:
        return Verdict.ALLOW if access in _ANON_MAY.get(act, ()) else Verdict.SIGN_IN
    if act in _ANON_MAY:
        return _decide_for_stranger(act, access) if standing is Standing.STRANGER else Verdict.ALLOW
    if standing in _MAY[act]:
        return Verdict.ALLOW
    return Verdict.HIDDEN if standing is Standing.STRANGER else Verdict.FORBIDDEN


def _decide_for_stranger(act: Act, access: Access | None) -> Verdict:
    if access in _HIDDEN_FROM_STRANGERS:
        return Verdict.HIDDEN
    is_readable_only = act is not Act.READ_ROWS and access is Access.PUBLIC_READ
    return Verdict.FORBIDDEN if is_readable_only else Verdict.ALLOW


def require(verdict: Verdict, what: str) -> None:
    """Raise what a verdict but ``ALLOW`` means: 401, 404 ("There is no such ``what``") or 403."""
    if verdict is Verdict.SIGN_IN:
        raise TokenError("Sign in first: this needs a user's bearer token", TokenRefusal.CLAIMS)
    if verdict is Verdict.HIDDEN:
        raise NotFound(f"There is no such {what}", code=f"{what}_not_found")
    if verdict is Verdict.FORBIDDEN:
        raise Forbidden("Your role in this database does not allow this")
