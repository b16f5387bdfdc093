"""Where a role stands in a token's claims."""

from __future__ import annotations

import pytest

from isobase_platform.claim_path import parse_claim_path, write_claim_path

CLAIMS = {
    "role": "author",
    "none": None,
    "app": {"roles": ["reader", "author-x", "x-author"], "any key": {"deep": [{"role": "found"}]}},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".role", "author"),
        ('."role"', "author"),
        (".none", None),
        (".app.roles[1]", "author-x"),
        ('.app."any key".deep[0].role', "found"),
        ('.app.roles[?(@ == "author-x")]', "author-x"),
        ('.app.roles[?(@ != "reader")]', "author-x"),
        ('.app.roles[?(@ ^== "x-")]', "x-author"),
        ('.app.roles[?(@ ==^ "-x")]', "author-x"),
        ('.app.roles[?(@*=="author")]', "author-x"),
    ],
)
def test_a_path_finds_its_value(path: str, value: object) -> None:
    assert parse_claim_path(path).find(CLAIMS) == (value,)


@pytest.mark.parametrize(
    "path", [".missing", ".role.more", ".role[0]", ".app.roles[3]", ".app[0]", '.app.roles[?(@ == "owner")]', ".none.x"]
)
def test_a_path_that_leads_nowhere_finds_nothing(path: str) -> None:
    assert parse_claim_path(path).find(CLAIMS) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "role",
        ".",
        ".role.",
        ".a b",
        ".a[",
        ".a[x]",
        ".a[-1]",
        '.a[?(@ == "x")].b',
        '.a[?(@ = "x")]',
        ".a[?(@ == x)]",
    ],
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="failed to parse role-claim-key value"):
        parse_claim_path(path)


@pytest.mark.parametrize("path", ['."role"', '."app"."roles"[0]', '."a"[?(@ ^== "x")]'])
def test_a_path_is_written_in_its_long_form(path: str) -> None:
    assert write_claim_path(parse_claim_path(path)) == path
    assert write_claim_path(parse_claim_path(".role")) == '."role"'
