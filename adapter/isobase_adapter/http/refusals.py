"""Answers that the adapter gives itself, in the shape of PostgREST's errors, so that apps get the error class they know."""

from __future__ import annotations

import json

import httpx

__all__ = ["REFUSED_STATUS", "refusal"]

REFUSED_STATUS = 400


def refusal(code: str, message: str, *, details: str | None = None, hint: str | None = None) -> httpx.Response:
    """Refuse a call that would have done harm; neither side was asked.

    code: ``MIGRATION_...``, listed in docs/migration/client.md. hint: what an operator can do.
    """
    body = json.dumps({"code": code, "message": message, "details": details, "hint": hint}).encode()
    return httpx.Response(REFUSED_STATUS, headers={"content-type": "application/json; charset=utf-8"}, content=body)
