"""The runbook can be followed: its commands are understood as written, its settings are there and told of."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from isobase_adapter.settings import VARIABLES, BreakerSettings, MigrationSettings
from isobase_deploy.cli.migrate import Places, variable_of
from isobase_deploy.cli.parser import build_parser

DOCS = Path(__file__).parents[2] / "docs"
RUNBOOK = DOCS / "migration.md"
PAGES = [RUNBOOK, *sorted((DOCS / "migration").glob("*.md"))]
FENCED = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands_of(page: Path) -> list[str]:
    """The lines of a page's examples that call ``isobase migrate``, without what is said beside them."""
    lines = [line for block in FENCED.findall(page.read_text()) for line in block.splitlines()]
    return [re.split(r"\s{3,}|\s#", line)[0] for line in lines if line.startswith("isobase migrate")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_an_example_is_understood(page: Path) -> None:
    parser = build_parser()
    for command in commands_of(page):
        try:
            parsed = parser.parse_args(shlex.split(command)[1:])
        except SystemExit:
            pytest.fail(f"{page.name}: {command}")
        assert parsed.handler, command


def test_the_runbook_has_every_command_that_a_move_needs() -> None:
    used = {command.split()[2] for command in commands_of(RUNBOOK)}
    assert {"plan", "copy", "sync", "verify", "flags", "cutover"} <= used
    text = RUNBOOK.read_text()
    assert [phase for phase in "ABCD" if f"## Phase {phase}: " not in text] == []
    assert text.count("| the way back |") == 4


def subcommands(parser: argparse.ArgumentParser, name: str) -> list[str]:
    """All commands below a parser, each with the words that lead to it."""
    families = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not families:
        return [name]
    return [
        each
        for family in families
        for word, one in family.choices.items()
        for each in subcommands(one, f"{name} {word}")
    ]


def test_the_page_of_the_command_line_names_every_command_of_a_move() -> None:
    (family,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    text = (DOCS / "cli.md").read_text()
    missing = [
        name
        for name in subcommands(family.choices["migrate"], "migrate")
        if f"isobase {name}" not in text and f"`{name.removeprefix('migrate ')}" not in text
    ]
    assert missing == []


def test_every_setting_is_documented_and_every_documented_one_is_there() -> None:
    known = {variable for _, variable, _ in VARIABLES} | {variable_of(name) for name in Places.__dataclass_fields__}
    client = (DOCS / "migration" / "client.md").read_text()
    assert sorted(name for _, name, _ in VARIABLES if f"`{name}`" not in client) == []
    named = {
        name
        for page in PAGES
        for name in re.findall(r"ISOBASE_MIGRATION_[A-Z_]+|\b(?:SUPABASE|ISOBASE)_(?:URL|KEY)\b", page.read_text())
    }
    assert named - known == set()
    block = next(block for block in FENCED.findall(RUNBOOK.read_text()) if "SUPABASE_URL=" in block)
    assert set(re.findall(r"([A-Z_]+)=", block)) <= known


def test_the_clients_page_names_every_setting_and_the_defaults_in_force() -> None:
    page = (DOCS / "migration" / "client.md").read_text()
    variables = {name: variable for name, variable, _ in VARIABLES}
    assert [one.name for one in fields(MigrationSettings) if f"`{variables.get(one.name, one.name)}`" not in page] == []
    assert set(variables) <= {one.name for one in fields(MigrationSettings)}
    told = {variable: re.search(rf"`{variable}` \|.*?default (\d+)( MiB)?", page) for variable in variables.values()}
    wrong = {
        variables[one.name]: one.default
        for one in fields(MigrationSettings)
        if type(one.default) in (int, float)
        and (found := told.get(variables.get(one.name, ""))) is not None
        and int(found[1]) * (1024**2 if found[2] else 1) != one.default
    }
    assert wrong == {}
    assert sum(found is not None for found in told.values()) >= 5
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([\d., ]+) \|", page, re.MULTILINE)
    breaker = {
        name: float(value)
        for names, values in rows
        for name, value in zip(re.findall(r"\w+", names), values.split(","), strict=True)
    }
    assert breaker == {one.name: one.default for one in fields(BreakerSettings)}


def test_every_link_of_the_runbook_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"
