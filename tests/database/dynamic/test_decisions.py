"""The one place that says who may: every standing against every act."""

from __future__ import annotations

import pytest

from isobase_services.database.dynamic.access import Act, Standing, Verdict, decide
from isobase_services.database.dynamic.models import Access

S, A, V = Standing, Act, Verdict

# Columns: ANON, STRANGER, READER, EDITOR, OWNER, SERVICE.
_STANDINGS = (S.ANON, S.STRANGER, S.READER, S.EDITOR, S.OWNER, S.SERVICE)
_LETTERS = {"+": V.ALLOW, "i": V.SIGN_IN, "h": V.HIDDEN, "f": V.FORBIDDEN}
_TABLE = [
    (A.CREATE_DATABASE, None, "i+++++"),
    (A.SEE_DEFINITIONS, None, "ih++++"),
    (A.CHANGE_TABLES, None, "ihf+++"),
    (A.CHANGE_ACCESS, None, "ihff++"),
    (A.DELETE_DATABASE, None, "ihff++"),
    (A.READ_ROWS, Access.PRIVATE, "ih++++"),
    (A.INSERT_ROWS, Access.PRIVATE, "ih++++"),
    (A.CHANGE_ROWS, Access.PRIVATE, "ih++++"),
    (A.READ_ROWS, Access.MEMBERS, "ih++++"),
    (A.INSERT_ROWS, Access.MEMBERS, "ih++++"),
    (A.CHANGE_ROWS, Access.MEMBERS, "ih++++"),
    (A.READ_ROWS, Access.PUBLIC_READ, "++++++"),
    (A.INSERT_ROWS, Access.PUBLIC_READ, "if++++"),
    (A.CHANGE_ROWS, Access.PUBLIC_READ, "if++++"),
    (A.READ_ROWS, Access.PUBLIC, "++++++"),
    (A.INSERT_ROWS, Access.PUBLIC, "++++++"),
    (A.CHANGE_ROWS, Access.PUBLIC, "i+++++"),
    (A.READ_ROWS, Access.CUSTOM, "++++++"),
    (A.INSERT_ROWS, Access.CUSTOM, "++++++"),
    (A.CHANGE_ROWS, Access.CUSTOM, "++++++"),
]


@pytest.mark.parametrize(("act", "access", "expected"), _TABLE)
def test_the_verdict_is_as_the_table_says(act: Act, access: Access | None, expected: str) -> None:
    found = [decide(standing, act, access) for standing in _STANDINGS]
    assert found == [_LETTERS[letter] for letter in expected]


def test_the_table_names_every_act_of_every_access() -> None:
    of_rows = {(act, access) for act in (A.READ_ROWS, A.INSERT_ROWS, A.CHANGE_ROWS) for access in Access}
    assert {(act, access) for act, access, _ in _TABLE if access is not None} == of_rows
    assert {act for act, _, _ in _TABLE} == set(Act)
