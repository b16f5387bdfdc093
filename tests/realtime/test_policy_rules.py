"""Policies in the forms that are judged without PostgreSQL: what is understood, and what it says."""

from __future__ import annotations

import pytest

from isobase_platform.caller import Claims
from isobase_services.realtime.changes.policies.claims import UNKNOWN, ClaimTerm, Kind, claim_value
from isobase_services.realtime.changes.policies.expression import is_opaque
from isobase_services.realtime.changes.policies.parsing import parse_policy
from isobase_services.realtime.changes.policies.rule import Policy, Rule, make_rule

ALICE = "11111111-1111-4111-8111-111111111111"
BOB = "22222222-2222-4222-8222-222222222222"
KINDS = {
    "id": Kind.INTEGER,
    "owner": Kind.UUID,
    "title": Kind.TEXT,
    "is_public": Kind.BOOLEAN,
    "gone_at": Kind.OTHER,
    "Odd Name": Kind.TEXT,
}
FUNCTIONS = frozenset({"uid", "jwt", "role", "email"})
ROW = {"id": "7", "owner": ALICE, "title": "acme", "is_public": "f", "gone_at": None, "Odd Name": "o'dd"}
CLAIMS: dict[str, object] = {
    "sub": ALICE,
    "role": "authenticated",
    "email": "acme",
    "n": 7,
    "flag": True,
    "app_metadata": {"org": "acme", "seven": "7", "list": ["acme"]},
}


def rule(*conditions: str, restrictive: tuple[str, ...] = ()) -> Rule:
    policies = [Policy(f"p{number}", True, text, frozenset(KINDS)) for number, text in enumerate(conditions)]
    policies += [Policy(f"r{number}", False, text, frozenset(KINDS)) for number, text in enumerate(restrictive)]
    return make_rule(policies, KINDS, FUNCTIONS)


def verdict(made: Rule, claims: dict[str, object] | None = None, **row: str | None) -> object:
    payload = Claims.from_payload(CLAIMS if claims is None else claims)
    return made.verdict({**ROW, **row}, [claim_value(term, payload) for term in made.terms])


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("true", True),
        ("false", False),
        ("(owner = auth.uid())", True),
        ("(auth.uid() = owner)", True),
        ("(( SELECT auth.uid() AS uid) = owner)", True),
        ("(( SELECT auth.uid() AS uid) <> owner)", False),
        ("((auth.jwt() ->> 'email'::text) = title)", True),
        ("((title)::text = (auth.jwt() ->> 'email'::text))", True),
        ("(auth.email() = title)", True),
        ("(( SELECT ((auth.jwt() -> 'app_metadata'::text) ->> 'org'::text)) = (title)::text)", True),
        ("((((auth.jwt() -> 'app_metadata'::text) ->> 'seven'::text))::integer = id)", True),
        ("(((auth.jwt() ->> 'n'::text))::bigint = id)", True),
        ("(((auth.jwt() ->> 'sub'::text))::uuid = owner)", True),
        ("((owner)::text = (auth.uid())::text)", True),
        ("((id)::text = (auth.jwt() ->> 'n'::text))", True),
        ("(auth.role() = 'authenticated'::text)", True),
        ("((auth.jwt() ->> 'missing'::text) = title)", None),
        ("(((auth.jwt() -> 'email'::text) ->> 'deeper'::text) IS NULL)", True),
        ("((((auth.jwt() -> 'app_metadata'::text) -> 'list'::text) ->> 'x'::text) IS NULL)", True),
        ("is_public", False),
        ("(NOT is_public)", True),
        ("(is_public IS TRUE)", False),
        ("(is_public = false)", True),
        ("((auth.jwt() ->> 'flag'::text))::boolean", True),
        ("(gone_at IS NULL)", True),
        ("(auth.uid() IS NOT NULL)", True),
        ("(title = ANY (ARRAY['x'::text, 'acme'::text]))", True),
        (
            "((title)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
            False,
        ),
        ("(\"Odd Name\" = 'o''dd'::text)", True),
        ("((id = 7) AND (owner = auth.uid()) AND (NOT is_public))", True),
        ("(is_public OR ((owner = auth.uid()) AND (id = 8)))", False),
        # What comes before decides, or what cannot be decided does not matter.
        ("((owner = auth.uid()) OR public.f(notes.*))", True),
        ("(public.f(notes.*) AND is_public)", False),
    ],
)
def test_known_form_says_what_postgresql_would(condition: str, expected: object) -> None:
    assert verdict(rule(condition)) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "public.f(notes.*)",
        "(EXISTS ( SELECT 1\n   FROM public.members m\n  WHERE ((m.team = notes.id) AND (m.uid = auth.uid()))))",
        "(id IN ( SELECT notes_1.id\n   FROM public.notes notes_1))",
        "(unknown_column = auth.uid())",
        "(id > 3)",
        "(lower(title) = 'acme'::text)",
        "(title = ANY ('{a,b}'::text[]))",
        "(title ~~ 'a%'::text)",
        "(gone_at = gone_at)",
        "((id)::smallint = 7)",
        "((title)::uuid = auth.uid())",
        "(title OPERATOR(public.=) 'acme'::text)",
        "(COALESCE(is_public, false) IS TRUE)",
        "(title = 'a'::text COLLATE \"C\")",
        "CASE WHEN is_public THEN true ELSE false END",
        # Behind what is undecided nothing counts in an OR: it may raise.
        "(public.f(notes.*) OR true)",
        "(NOT (public.f(notes.*) AND false))",
    ],
)
def test_other_forms_are_left_to_postgresql(condition: str) -> None:
    assert verdict(rule(condition)) is UNKNOWN


@pytest.mark.parametrize("value", [1.5, "", {}, [], "not-a-uuid"])
def test_claim_that_only_postgresql_can_read_is_left_to_it(value: object) -> None:
    assert verdict(rule("(owner = auth.uid())"), {"sub": value}) is UNKNOWN


def test_claims_that_postgresql_cannot_hold_are_left_to_it() -> None:
    assert claim_value(ClaimTerm(("sub",)), Claims.from_payload({"sub": "x", "other": "\0"})) is UNKNOWN
    assert claim_value(ClaimTerm(("sub",)), Claims.from_payload({"sub": "x", "other": "\ud800"})) is UNKNOWN


def test_function_that_was_replaced_is_left_to_postgresql() -> None:
    policy = Policy("p", True, "(owner = auth.uid())", frozenset({"owner"}))
    assert make_rule([policy], KINDS, frozenset({"jwt"})).is_opaque


def test_column_that_the_log_does_not_hold_is_left_to_postgresql() -> None:
    made = rule("(owner = auth.uid())")
    assert made.verdict({}, [ALICE]) is UNKNOWN


def test_one_permissive_and_all_restrictive_policies_must_let_a_row_through() -> None:
    assert verdict(rule("is_public", "(owner = auth.uid())")) is True
    assert verdict(rule("(owner = auth.uid())", restrictive=("(id = 7)",))) is True
    assert verdict(rule("(owner = auth.uid())", restrictive=("(id = 7)", "is_public"))) is False
    assert verdict(rule(restrictive=("true",))) is False
    assert verdict(rule()) is False


def test_row_concerns_only_callers_whose_claim_equals_a_column() -> None:
    owner = ClaimTerm(("sub",), Kind.UUID, Kind.UUID)
    made = rule("((owner = auth.uid()) AND public.f(notes.*))", "(title = auth.email())")
    assert made.drivers is not None
    assert {(column, made.terms[place]) for column, place in made.drivers} == {
        ("owner", owner),
        ("title", ClaimTerm(("email",))),
    }
    assert rule("(owner = auth.uid())", "is_public").drivers is None
    assert rule().drivers == ()


def test_permissive_policies_are_tried_from_the_last_name_to_the_first() -> None:
    assert verdict(rule("public.f(notes.*)", "true")) is True
    assert verdict(rule("true", "public.f(notes.*)")) is UNKNOWN


def test_restrictive_policies_run_only_where_a_permissive_one_let_the_row_through() -> None:
    made = rule("(a)", "(b)", restrictive=("(c)",))
    assert made.condition_sql == "case when (((b)) or ((a))) then ((c)) else false end"


def test_deep_nesting_is_left_to_postgresql_and_takes_no_time() -> None:
    assert rule("(" * 5000 + "true" + ")" * 5000).is_opaque
    nested = "is_public"
    for _ in range(200):
        nested = f"({nested} AND is_public)"
    assert rule(nested).is_opaque


@pytest.mark.parametrize("keyword", ["CURRENT_USER", "SESSION_USER", "CURRENT_ROLE"])
def test_a_keyword_is_never_taken_for_a_column_of_that_name(keyword: str) -> None:
    columns = {"owner": Kind.TEXT, keyword: Kind.TEXT}
    assert is_opaque(parse_policy(f"(owner = ({keyword})::text)", columns, ()))
    assert not is_opaque(parse_policy(f'(owner = "{keyword}")', columns, ()))
