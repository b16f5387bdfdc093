"""docs/settings.md is what the settings say today."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel
from scripts import settings_page

from isobase_platform.config import Settings

ROOT = Path(__file__).parents[2]


def environment_names(model: type[BaseModel], prefix: str) -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= environment_names(field.annotation, f"{prefix}{name.upper()}__")
        else:
            names.add(f"{prefix}{name.upper()}")
    return names


def test_the_settings_page_is_what_the_generator_writes() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page()


def test_the_settings_page_lists_exactly_the_settings() -> None:
    documented = set(re.findall(r"`(ISOBASE_[A-Z0-9_]+)`", (ROOT / "docs" / "settings.md").read_text()))
    assert documented == environment_names(Settings, "ISOBASE_")


def test_every_setting_is_read_somewhere() -> None:
    sources = "".join(
        path.read_text() for folder in ("platform", "services", "deploy") for path in (ROOT / folder).rglob("*.py")
    )
    fields = {
        name.rpartition("__")[2].removeprefix("ISOBASE_").lower() for name in environment_names(Settings, "ISOBASE_")
    }
    assert {name for name in fields if not re.search(rf"\.{name}\b", sources)} == set()
