"""The pages of the SDK name what an app can set, and lead to one another."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import isobase
from isobase.lib.client_options import AsyncClientOptions, SyncClientOptions
from isobase.types import RealtimeClientOptions, TracePropagationOptions

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.name: path.read_text() for path in sorted((DOCS / "sdk").glob("*.md"))}
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def missing_from(page: str, names: set[str]) -> set[str]:
    return {name for name in names if not re.search(rf"\b{re.escape(name)}\b", PAGES[page])}


def test_the_page_on_clients_names_every_option() -> None:
    names = {field.name for kind in (AsyncClientOptions, SyncClientOptions) for field in dataclasses.fields(kind)}
    assert missing_from("clients.md", names) == set()


def test_the_page_on_realtime_names_every_option_of_its_client() -> None:
    assert missing_from("realtime.md", set(RealtimeClientOptions.__annotations__)) == set()


def test_the_pages_on_calls_and_traces_name_every_option() -> None:
    assert missing_from("timeouts-and-retries.md", set(inspect.signature(isobase.call_options).parameters)) == set()
    assert missing_from("logging-and-tracing.md", set(TracePropagationOptions.__annotations__)) == set()


def test_every_error_that_the_package_names_is_on_a_page() -> None:
    text = "\n".join(PAGES.values())
    errors = {
        name
        for name in isobase.__all__
        if inspect.isclass(kind := getattr(isobase, name)) and issubclass(kind, Exception)
    }
    assert {name for name in errors if getattr(isobase, name).__name__ not in text} == set()


def test_every_page_is_reached_from_the_index() -> None:
    assert {page for page in PAGES if f"({page})" not in PAGES["index.md"]} == {"index.md"}


def test_links_of_the_pages_lead_somewhere() -> None:
    broken = [
        f"{page}: {target}"
        for page, text in PAGES.items()
        for target in LINK.findall(text)
        if not (DOCS / "sdk" / target).exists()
    ]
    assert broken == []
