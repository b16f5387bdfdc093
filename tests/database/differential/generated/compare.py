"""Ask both servers one generated request, and say where they disagree."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from urllib.parse import unquote

import httpx

from isobase_platform.caller import AUTHENTICATED_ROLE
from tests.database.differential.comparing import code_only, facets_of, newer_answer
from tests.database.differential.conftest import ALICE, Answer, Pair
from tests.database.differential.generated.differences import DIFFERENCES
from tests.database.differential.generated.request import Request

__all__ = ["ask", "disagreement"]

TOKEN_LIFE_S = 600


def ask(pair: Pair, request: Request) -> tuple[Answer, Answer]:
    """Upstream's answer and ours; after a write each with the content of its database, which is then filled again."""
    headers = dict(request.headers)
    if request.role is not None:
        claims: dict[str, object] = {"role": request.role, "exp": int(time.time()) + TOKEN_LIFE_S}
        if request.role == AUTHENTICATED_ROLE:
            claims["sub"] = ALICE
        headers["Authorization"] = f"Bearer {pair.token(**claims)}"
    try:
        theirs = pair.upstream.ask_lab(request.method, request.path, headers, request.body, is_write=request.is_write)
    except (httpx.ReadError, httpx.RemoteProtocolError):  # PostgREST ends a connection between two requests at times
        if request.is_write:
            raise
        theirs = pair.upstream.ask_lab(request.method, request.path, headers, request.body, is_write=False)
    return theirs, pair.ours.ask_lab(request.method, request.path, headers, request.body, is_write=request.is_write)


def disagreement(request: Request, theirs: Answer, ours: Answer) -> str | None:
    """What differs without being meant to, as text; None where the answers agree."""
    wanted, got = _plain(newer_answer(facets_of(theirs))), _plain(facets_of(ours))
    for difference in DIFFERENCES:
        if difference.concerns(request, theirs, ours):
            if difference.left == "nothing":
                return None
            wanted = {"status": wanted["status"], "code": code_only(wanted["body"])}
            got = {"status": got["status"], "code": code_only(got["body"])}
            break
    else:
        if not request.is_ordered:
            wanted["body"], got["body"] = _as_set(wanted["body"]), _as_set(got["body"])
    said = [
        f"  {name}\n    12.0.2: {wanted[name]}\n    ours:   {got[name]}" for name in wanted if wanted[name] != got[name]
    ]
    if theirs.content != ours.content:
        said.append(f"  content\n    12.0.2: {theirs.content}\n    ours:   {ours.content}")
    return "\n".join(said) or None


def _plain(facets: dict[str, object]) -> dict[str, object]:
    """Facets without what each server writes in its own way.

    Names inside a message of PostgreSQL about SQL that the server wrote (numbers of aliases, types of parameters); the order
    of the choices in PGRST201, which is that of a hash; spaces in the JSON of a CSV cell; and the name in (Content-)Location,
    which we encode as a URI asks, where upstream encodes UTF-8 twice.
    """
    headers = facets["headers"]
    assert isinstance(headers, dict)
    if "content-type" in headers:
        # 12.0.2 sends two with PGRST116.
        headers = headers | {"content-type": str(headers["content-type"]).partition(",")[0]}
    for name in ("location", "content-location"):
        if name in headers:
            path, mark, query = str(headers[name]).partition("?")
            headers = headers | {name: unquote(path) + mark + _encoded_once(unquote(query))}
    body = facets["body"]
    if isinstance(body, str) and str(headers.get("content-type")).startswith("text/csv"):
        body = [[_json_of(cell) for cell in row] for row in csv.reader(io.StringIO(body))]
    if isinstance(body, dict) and "message" in body and "code" in body:
        if body["code"] == "PGRST201":
            body = body | {"details": _as_set(body["details"]), "hint": sorted(re.split("[:,.] ?", str(body["hint"])))}
        elif str(body["code"]).startswith("42"):
            body = {name: _own_names(value) for name, value in body.items()}
    return facets | {"headers": headers, "body": body}


def _encoded_once(text: str) -> str:
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _json_of(cell: str) -> object:
    try:
        return json.loads(cell) if cell[:1] in {"[", "{"} else cell
    except ValueError:
        return cell


def _own_names(text: object) -> object:
    if not isinstance(text, str):
        return text
    text = re.sub(r"(_\d+)+(?=[.\" ])", "_N", text)
    return re.sub(r"(?<=does not exist: )(.*) (\S+) (unknown|\S+)$", r"\1 \2 value", text)


def _as_set(value: object) -> object:
    """JSON with every array sorted."""
    if isinstance(value, list):
        return sorted((_as_set(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
    if isinstance(value, dict):
        return {name: _as_set(one) for name, one in value.items()}
    return value
