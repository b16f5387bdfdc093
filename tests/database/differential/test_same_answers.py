"""PostgREST's status, headers and body, and the same rows in the database afterwards, request by request."""

from __future__ import annotations

import re
import time

import pytest

from isobase_platform.caller import AUTHENTICATED_ROLE
from tests.database.differential.cases import CASES, Case
from tests.database.differential.conftest import ALICE, Answer, Pair

COMPARED_HEADERS = (
    "content-type",
    "content-range",
    "content-location",
    "content-profile",
    "location",
    "preference-applied",
    "www-authenticate",
    "allow",
    "x-tea",
    "x-own",
    "cache-control",
)
TOKEN_LIFE_S = 600

_NEWER_MESSAGES = {
    "JSON object requested, multiple (or no) rows returned": "Cannot coerce the result to a single JSON object",
}
_OLD_COLUMN_MESSAGE = re.compile(r"Column '(.*)' of relation '(.*)' does not exist")
_RAISE_MESSAGE = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"
_NEWER_STATUSES = {"PGRST107": 406, "54000": 500, "21000": 500, "53400": 500}


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


def _facets(answer: Answer) -> dict[str, object]:
    headers = {name: answer.headers[name] for name in COMPARED_HEADERS if name in answer.headers}
    return {"status": answer.status, "headers": headers, "body": answer.json()}


def newer_answer(facets: dict[str, object]) -> dict[str, object]:
    """What version 14 says where 12.0.2 says ``facets``, as far as 14 changed whole classes of answers.

    Source: PostgREST v14 ``Error.hs``. Other headers of 12.0.2 are kept but for its doubled Content-Type of PGRST116.
    """
    body, headers = facets["body"], facets["headers"]
    assert isinstance(headers, dict)
    if not isinstance(body, dict) or "code" not in body or "message" not in body:
        return facets
    code = str(body["code"])
    message = _NEWER_MESSAGES.get(str(body["message"]), str(body["message"]))
    message = _OLD_COLUMN_MESSAGE.sub(r"Could not find the '\1' column of '\2' in the schema cache", message)
    if code == "PGRST121":
        message = _RAISE_MESSAGE
    content_type = str(headers.get("content-type", "")).partition(",")[0]
    return {
        "status": _NEWER_STATUSES.get(code, facets["status"]),
        "headers": headers | {"content-type": content_type},
        "body": body | {"message": message},
    }


def _code_only(body: object) -> object:
    return {"code": body["code"]} if isinstance(body, dict) and "code" in body else body


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_as_postgrest_does(pair: Pair, case: Case) -> None:
    theirs, ours = _ask(pair, case)
    got, wanted = _facets(ours), newer_answer(_facets(theirs))
    for facet in case.newer:
        del wanted[facet], got[facet]
    if case.only_code:
        wanted["body"], got["body"] = _code_only(wanted["body"]), _code_only(got["body"])
    assert got == wanted
    if case.status is not None:
        assert ours.status == case.status
    if case.code is not None:
        assert _code_only(ours.json()) == {"code": case.code}
    if "status" not in case.newer:
        assert ours.content == theirs.content
