"""Whether ``auth.uid()`` and its sisters are the functions that policies may be judged by without asking PostgreSQL.

Anybody with the rights may replace them. So their sources are compared, but for white space, with those of schema.sql and
with those of Supabase's own projects, whose answers are the same for every claim that ``claims`` gives a value to. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["AuthFunction", "known_functions"]


@dataclass(slots=True, frozen=True)
class AuthFunction:
    """A function of schema ``auth`` without arguments. ``is_plain``: SQL, stable, without settings, as its caller, and
    open to the role in question.
    """

    name: str
    source: str
    returns: str
    is_plain: bool


def _claim(name: str) -> str:
    return (
        f"nullif(current_setting('request.jwt.claim.{name}', true), ''),"
        f" nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> '{name}'"
    )


def _upstream_claim(name: str) -> str:
    return (
        f"nullif(current_setting('request.jwt.claim.{name}', true), ''),"
        f" (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> '{name}')"
    )


_JWT = (
    "select coalesce(nullif(current_setting('request.jwt.claim', true), ''),"
    " nullif(current_setting('request.jwt.claims', true), ''))::jsonb"
)


def _squeezed(source: str) -> str:
    return "".join(source.split()).removesuffix(";")


_SOURCES = {
    (name, returns): frozenset(map(_squeezed, sources))
    for name, returns, sources in (
        ("jwt", "jsonb", [_JWT]),
        (
            "uid",
            "uuid",
            [f"select nullif(coalesce({_claim('sub')}), '')::uuid", f"select coalesce({_upstream_claim('sub')})::uuid"],
        ),
        (
            "role",
            "text",
            [f"select nullif(coalesce({_claim('role')}), '')", f"select coalesce({_upstream_claim('role')})::text"],
        ),
        (
            "email",
            "text",
            [f"select nullif(coalesce({_claim('email')}), '')", f"select coalesce({_upstream_claim('email')})::text"],
        ),
    )
}


def known_functions(functions: Iterable[AuthFunction]) -> frozenset[str]:
    """The names of those that do what their names say."""
    return frozenset(
        function.name
        for function in functions
        if function.is_plain and _squeezed(function.source) in _SOURCES.get((function.name, function.returns), ())
    )
