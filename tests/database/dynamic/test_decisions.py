"""The one place that says who may: every standing against every act."""

from __future__ import annotations

import pytest

from isobase_services.database.dynamic.access import Act, Standing, Verdict, decide
from isobase_services.database.dynamic.models import Access

S, A, V = Standing, Act, Verdict

# Columns: ANON, STRANGER, READER, WRITER, ADMIN, OWNER, SERVICE.
_STANDINGS = (S.ANON, S.STRANGER, S.READER, S.WRITER, S.ADMIN, S.OWNER, S.SERVICE)
_LETTERS = {"+": V.ALLOW, "i": V.SIGN_IN, "h": V.HIDDEN, "f": V.FORBIDDEN}
_TABLE = [
    (A.CREATE_DATABASE, None, "i++++++"),
    (A.SEE_DEFINITIONS, None, "ih+++++"),
    (A.CHANGE_TABLES, None, "ihff+++"),
    (A.SEE_MEMBERS, None, "ih+++++"),
    (A.CHANGE_MEMBERS, None, "ihfff++"),
    (A.DELETE_DATABASE, None, "ihfff++"),
    (A.READ_ROWS, Access.OWNER, "i++++++"),
    (A.WRITE_ROWS, Access.OWNER, "i++++++"),
    (A.READ_ROWS, Access.MEMBERS, "ih+++++"),
    (A.WRITE_ROWS, Access.MEMBERS, "ih+++++"),
    (A.READ_ROWS, Access.PUBLIC_READ, "+++++++"),
    (A.WRITE_ROWS, Access.PUBLIC_READ, "i++++++"),
]


@pytest.mark.parametrize(("act", "access", "expected"), _TABLE)
def test_the_verdict_is_as_the_table_says(act: Act, access: Access | None, expected: str) -> None:
    found = [decide(standing, act, access) for standing in _STANDINGS]
    assert found == [_LETTERS[letter] for letter in expected]


def test_the_table_names_every_act() -> None:
    assert {act for act, _, _ in _TABLE} == set(Act)
