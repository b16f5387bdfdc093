"""The closed lists that ``expressions`` goes by: words, functions, and kinds of nodes."""

from __future__ import annotations

__all__ = ["ALLOWED_FUNCTIONS", "LOOKUP_TYPES", "NODES", "OWN_FUNCTIONS", "REFUSED_WORDS"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


REFUSED_WORDS = _words("""
    except fetch for group having intersect into limit offset over returning table union values where window with
""")
"""Keywords that a query over a relation needs; FROM is refused too, but behind DISTINCT."""

LOOKUP_TYPES = _words("""
    regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype
""")
"""Types whose values are looked up in the catalog: they would tell what there is."""

ALLOWED_FUNCTIONS = _words("""
    abs age array_append array_length array_lower array_ndims array_position array_remove array_upper ascii bit_length btrim
    cardinality ceil ceiling char_length character_length chr concat concat_ws date_part date_trunc div family floor host
    initcap isempty isfinite json_array_length json_extract_path json_extract_path_text json_typeof jsonb_array_length
    jsonb_exists jsonb_exists_all jsonb_exists_any jsonb_extract_path jsonb_extract_path_text jsonb_typeof left length
    like_escape lower lower_inc lower_inf ltrim make_date make_interval make_time masklen md5 mod network now num_nonnulls
    num_nulls numnode octet_length phraseto_tsquery plainto_tsquery position range_merge reverse right round rtrim sha256
    sign similar_to_escape split_part sqrt starts_with statement_timestamp strpos substr substring timezone to_tsvector
    transaction_timestamp trunc upper upper_inc upper_inf websearch_to_tsquery
""")
"""Functions of pg_catalog that an expression may call by name. None reads a relation, runs text as SQL, waits, or writes."""

OWN_FUNCTIONS = ("auth.uid", "auth.jwt", "auth.role", "auth.email", "isobase.database_role")
"""Functions of other schemas that an expression may call; all tell of the caller only."""

NODES = _words("""
    VAR CONST FUNCEXPR NAMEDARGEXPR OPEXPR DISTINCTEXPR NULLIFEXPR SCALARARRAYOPEXPR BOOLEXPR RELABELTYPE COERCEVIAIO
    ARRAYCOERCEEXPR CASEEXPR CASE CASEWHEN WHEN CASETESTEXPR ARRAYEXPR ARRAY ROWEXPR ROW ROWCOMPAREEXPR ROWCOMPARE
    COALESCEEXPR COALESCE MINMAXEXPR MINMAX SQLVALUEFUNCTION NULLTEST BOOLEANTEST SUBSCRIPTINGREF COLLATEEXPR COLLATE
    SUBLINK QUERY TARGETENTRY FROMEXPR
""")
"""Names of nodes in the trees of PostgreSQL 15 to 18; a query among them is one without relations."""
