"""All requests of the differential suite."""

from __future__ import annotations

from tests.database.differential.cases.asking import AUTH, PREFER, ROUTES
from tests.database.differential.cases.calling import CALL
from tests.database.differential.cases.case import Case
from tests.database.differential.cases.embedding import EMBED, MEDIA, PROFILE
from tests.database.differential.cases.language import AGGREGATE, COMPUTED
from tests.database.differential.cases.reading import (
    BROKEN,
    FILTER,
    LOGIC,
    ODD_NAMES,
    ORDER_RANGE,
    SELECT,
    WORDS,
)
from tests.database.differential.cases.writing import DELETE, INSERT, UPDATE, UPSERT

__all__ = ["CASES", "Case"]

CASES: tuple[Case, ...] = (
    *SELECT,
    *FILTER,
    *LOGIC,
    *BROKEN,
    *ODD_NAMES,
    *WORDS,
    *ORDER_RANGE,
    *EMBED,
    *MEDIA,
    *PROFILE,
    *AGGREGATE,
    *COMPUTED,
    *INSERT,
    *UPSERT,
    *UPDATE,
    *DELETE,
    *CALL,
    *PREFER,
    *ROUTES,
    *AUTH,
)
