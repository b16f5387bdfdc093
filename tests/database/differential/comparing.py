"""What of two answers is compared, and how an answer of PostgREST 12.0.2 reads in version 14."""

from __future__ import annotations

import re

from tests.database.differential.conftest import Answer

__all__ = ["code_only", "facets_of", "newer_answer"]

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
_NEWER_MESSAGES = {
    "JSON object requested, multiple (or no) rows returned": "Cannot coerce the result to a single JSON object",
}
_OLD_COLUMN_MESSAGE = re.compile(r"Column '(.*)' of relation '(.*)' does not exist")
_RAISE_MESSAGE = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"
_NEWER_STATUSES = {"PGRST107": 406, "54000": 500, "21000": 500, "53400": 500}


def facets_of(answer: Answer) -> dict[str, object]:
    """Status, compared headers and parsed body."""
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


def code_only(body: object) -> object:
    """An error's body reduced to its code; any other body as it is."""
    return {"code": body["code"]} if isinstance(body, dict) and "code" in body else body
