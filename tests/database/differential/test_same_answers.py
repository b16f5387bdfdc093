"""PostgREST's status, headers and body, and the same rows in the database afterwards, request by request."""

from __future__ import annotations

import time

import pytest

from isobase_platform.caller import AUTHENTICATED_ROLE
from tests.database.differential.cases import CASES, Case
from tests.database.differential.comparing import code_only, facets_of, newer_answer
from tests.database.differential.conftest import ALICE, Answer, Pair

TOKEN_LIFE_S = 600


def _ask(pair: Pair, case: Case) -> tuple[Answer, Answer]:
    headers = dict(case.headers)
    if case.role is not None:
        claims: dict[str, object] = {"role": case.role, "exp": int(time.time()) + TOKEN_LIFE_S}
        if case.role == AUTHENTICATED_ROLE:
            claims["sub"] = ALICE
        headers["Authorization"] = f"Bearer {pair.token(**claims)}"
    if case.body is not None and not isinstance(case.body, bytes):
        headers.setdefault("Content-Type", "application/json")
    return (
        pair.upstream.ask(case.method, case.path, headers, case.content),
        pair.ours.ask(case.method, case.path, headers, case.content),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_as_postgrest_does(pair: Pair, case: Case) -> None:
    theirs, ours = _ask(pair, case)
    got, wanted = facets_of(ours), newer_answer(facets_of(theirs))
    for facet in case.newer:
        del wanted[facet], got[facet]
    if case.only_code:
        wanted["body"], got["body"] = code_only(wanted["body"]), code_only(got["body"])
    assert got == wanted
    if case.status is not None:
        assert ours.status == case.status
    if case.code is not None:
        assert code_only(ours.json()) == {"code": case.code}
    if "status" not in case.newer:
        assert ours.content == theirs.content
