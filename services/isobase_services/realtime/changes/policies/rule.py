"""All policies of a table that concern a role, as one rule: for a row and a caller yes, no, or "ask PostgreSQL".

PostgreSQL lets a row through when one of the permissive policies and all of the restrictive ones do. Pure.
Source: PostgreSQL documentation, "CREATE POLICY"; ``get_row_security_policies``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from isobase_services.realtime.changes.policies.claims import ClaimTerm, Kind, Value
from isobase_services.realtime.changes.policies.expression import (
    And,
    Condition,
    Constant,
    Decide,
    Or,
    Truth,
    Verdict,
    claim_terms,
    compiled,
    drivers,
    is_opaque,
)
from isobase_services.realtime.changes.policies.parsing import parse_policy

__all__ = ["Policy", "Rule", "make_rule"]


@dataclass(slots=True, frozen=True)
class Policy:
    """A policy that applies to SELECT. ``condition``: its USING clause as text, with qualified names, or None without one;
    ``columns``: those of its table that it reads by name.
    """

    name: str
    is_permissive: bool
    condition: str | None
    columns: frozenset[str]


@dataclass(slots=True, frozen=True, eq=False)
class Rule:
    """``terms``: the claims it reads. ``drivers``: pairs of a column and a term's place of which one must be equal wherever
    the rule lets a row through; None when every caller may be concerned.

    ``condition_sql`` is the whole as SQL over a row named as the table; ``columns`` what it reads of it; ``reads_whole_row``
    when it reads the row as such.
    """

    terms: tuple[ClaimTerm, ...]
    drivers: tuple[tuple[str, int], ...] | None
    is_opaque: bool
    condition_sql: str
    columns: frozenset[str]
    reads_whole_row: bool
    decide: Decide

    def verdict(self, row: Mapping[str, str | None], claims: Sequence[Value]) -> Verdict:
        """Whether a caller with these values of ``terms`` sees the row; ``UNKNOWN`` where PostgreSQL must be asked."""
        return self.decide(row, claims)


def make_rule(policies: Sequence[Policy], kinds: Mapping[str, Kind], functions: Collection[str]) -> Rule:
    """Put policies together. ``policies`` are sorted by name; ``kinds`` and ``functions`` as ``parse_policy``."""
    # PostgreSQL tries permissive policies from the last name to the first. It matters where one of them raises.
    permissive = [policy for policy in reversed(policies) if policy.is_permissive and policy.condition is not None]
    restrictive = [policy for policy in policies if not policy.is_permissive and policy.condition is not None]

    def parsed(policy: Policy) -> Condition:
        return parse_policy(policy.condition or "", kinds, functions)

    allowed: Condition = (
        Or(tuple(parsed(policy) for policy in permissive)) if permissive else Truth(Constant("f", Kind.BOOLEAN))
    )
    condition: Condition = And((allowed, *(parsed(policy) for policy in restrictive))) if restrictive else allowed
    terms = claim_terms(condition)
    places = {term: place for place, term in enumerate(terms)}
    driving = drivers(condition)
    texts = [policy.condition or "" for policy in (*permissive, *restrictive)]
    return Rule(
        terms=terms,
        drivers=None if driving is None else tuple((column, places[term]) for column, term in sorted(driving, key=str)),
        is_opaque=is_opaque(condition),
        condition_sql=_condition_sql(permissive, restrictive),
        columns=frozenset().union(*(policy.columns for policy in (*permissive, *restrictive))),
        reads_whole_row=any(".*" in text for text in texts),
        decide=compiled(condition, terms),
    )


def _condition_sql(permissive: Sequence[Policy], restrictive: Sequence[Policy]) -> str:
    """Restrictive policies are looked at only where a permissive one let the row through, as PostgreSQL does."""
    sql = " or ".join(f"({policy.condition})" for policy in permissive) or "false"
    for policy in restrictive:
        sql = f"case when ({sql}) then ({policy.condition}) else false end"
    return sql
