"""One question asked as many callers in one round trip, for ``RlsDoor.ask_for_each``; the SQL function is in schema.sql.

A transaction for each of 500 callers costs 500 times ten statements; here each costs a subtransaction, which is rolled back
so that nothing of one caller reaches the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from isobase_platform.caller import Caller
from isobase_platform.errors import DatabaseError
from isobase_platform.wire_messages import Row, Step

__all__ = ["Answer", "ask_for_each"]

_FUNCTION = (
    "select * from isobase.ask_for_each($1::text, $2::text[], $3::text[], $4::integer, $5::text, $6::text, $7::text[])"
)
# The function is the login role's; it takes the callers' role itself.
_AS_LOGIN: Step = ("select pg_catalog.num_nonnulls(pg_catalog.set_config('role', 'none', true))", ())


@dataclass(slots=True, frozen=True)
class Answer:
    """What a caller's question gave: ``text``, None for NULL or no row, or the ``error`` that it raised."""

    text: str | None = None
    error: DatabaseError | None = None


_NOTHING = Answer()


class Once(Protocol):
    """``RlsDoor.once``."""

    async def __call__(
        self,
        caller: Caller,
        steps: Sequence[Step],
        *,
        read_only: bool = False,
        search_path: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> list[list[Row]]:
        """See there."""
        ...


async def ask_for_each(
    once: Once,
    callers: Sequence[Caller],
    identities: Sequence[Sequence[tuple[str, str]]],
    question: str,
    parameters: Sequence[str | None],
    search_path: Sequence[str],
    settings: Mapping[str, str] | None,
) -> list[Answer]:
    """See ``RlsDoor.ask_for_each``; ``identities`` are the settings that make each of the callers."""
    answers = [_NOTHING] * len(callers)
    if not callers:
        return answers
    role = callers[0].role
    if any(caller.role != role for caller in callers):
        raise ValueError("callers of one question have one role")
    # What all have in common is set once; mostly only the claims differ.
    differing = [
        place
        for place, setting in enumerate(identities[0])
        if any(identity[place] != setting for identity in identities)
    ]
    names = [identities[0][place][0] for place in differing]
    values = [identity[place][1] for identity in identities for place in differing]
    step: Step = (
        _FUNCTION,
        (
            role,
            array_literal(names),
            array_literal(values),
            str(len(callers)),
            f"isobase_question_{hashlib.sha256(question.encode()).hexdigest()[:32]}",
            question,
            array_literal(parameters),
        ),
    )
    rows = (await once(callers[0], [_AS_LOGIN, step], read_only=True, search_path=search_path, settings=settings))[1]
    for number, text, code, message in rows:
        place = int.from_bytes(number or b"") - 1
        if code is None:
            answers[place] = Answer(text.decode() if text is not None else None)
        else:
            answers[place] = Answer(error=DatabaseError((message or b"").decode("utf-8", "replace"), code.decode()))
    return answers


def array_literal(values: Sequence[str | None]) -> str:
    """A one-dimensional array of texts as PostgreSQL reads it."""
    return "{" + ",".join("NULL" if value is None else _quoted(value) for value in values) + "}"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
