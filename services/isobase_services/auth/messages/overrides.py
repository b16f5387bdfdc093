"""A project's own words for its mail: reads the files that the settings name, and says at start what cannot be used.

Files in Go's template language, as upstream's are, whatever their ending; a file that ends in ``.j2`` is a Jinja2 template
with the same variables.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from isobase_platform.errors import ConfigurationError
from isobase_services.auth.messages.fetched import FetchedTemplate
from isobase_services.auth.messages.model import EmailKind, SendFailed

if TYPE_CHECKING:
    from isobase_platform.config_auth.email import EmailSettings
    from isobase_platform.config_auth.email_templates import TemplateSettings

__all__ = ["Override", "Words", "overrides_of"]

MAX_TEMPLATE_BYTES = 512 * 1024
JINJA_SUFFIX = ".j2"

_log = logging.getLogger("isobase.auth.messages")


class Words(Protocol):
    """A template of a project's own."""

    def render(self, values: Mapping[str, object]) -> str:
        """Fill ``values`` in. Raises ``SendFailed`` where the template breaks off."""
        ...


@dataclass(slots=True, frozen=True)
class Override:
    """What stands in the place of our own words; None: ours stay."""

    subject: Words | None
    html: Words | None
    fetched: FetchedTemplate | None = None
    """In the place of ``html``: a template behind a URL."""

    @property
    def body(self) -> Words | None:
        """What the HTML is rendered with, if it is not ours."""
        return self.html if self.fetched is None else self.fetched.words


def overrides_of(settings: EmailSettings, site_url: str) -> Mapping[EmailKind, Override]:
    """Every kind of mail for which the project has words of its own; a URL that is a path lies below ``site_url``.

    Raises ``ConfigurationError`` that names key, file and line for a file that cannot be read or says what is not supported.
    """
    known = {(kind.is_notice, kind.template): kind for kind in EmailKind}
    found: dict[EmailKind, Override] = {}
    for section, is_notice, group in (
        ("template", False, settings.template),
        ("notification", True, settings.notification),
    ):
        for name, given in group.items():
            key = f"auth.email.{section}.{name}"
            kind = known.get((is_notice, name))
            if kind is None:
                _log.warning("there is no mail of that name: it has no effect", extra={"key": key})
            elif given.subject or given.content_path is not None or given.content_url:
                found[kind] = _override(key, given, site_url)
    return found


def _override(key: str, given: TemplateSettings, site_url: str) -> Override:
    subject = html = fetched = None
    if given.subject:
        subject = _compiled(f"{key}.subject", given.subject, is_html=False)
    if given.content_path is not None:
        html = _compiled_file(f"{key}.content_path", given.content_path)
    elif given.content_url:
        url = given.content_url
        fetched = FetchedTemplate(f"{key}.content_url", url if url.startswith("http") else f"{site_url}{url}")
    return Override(subject, html, fetched)


def _compiled_file(key: str, path: Path) -> Words:
    try:
        if path.stat().st_size > MAX_TEMPLATE_BYTES:
            raise ConfigurationError(f"{key}: {path} is larger than {MAX_TEMPLATE_BYTES} bytes")
        source = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{key}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{key}: {path} is not UTF-8 text (byte {error.start})") from error
    where = f"{key}: {path}"
    return _JinjaWords(source, where) if path.suffix == JINJA_SUFFIX else _compiled(where, source, is_html=True)


def _compiled(where: str, source: str, *, is_html: bool) -> Words:
    from isobase_services.auth.messages.templates import TemplateError, compile_template

    try:
        return compile_template(source, is_html=is_html)
    except TemplateError as error:
        raise ConfigurationError(f"{where}, {error}", hint="docs/auth-mail.md lists what templates may say") from error


class _JinjaWords:
    """A Jinja2 template, in its sandbox and with escaping."""

    def __init__(self, source: str, where: str) -> None:
        from jinja2 import TemplateSyntaxError
        from jinja2.sandbox import SandboxedEnvironment

        self._where = where
        try:
            self._template = SandboxedEnvironment(autoescape=True).from_string(source)
        except TemplateSyntaxError as error:
            raise ConfigurationError(f"{where}, line {error.lineno}: {error.message}") from error

    def render(self, values: Mapping[str, object]) -> str:
        from jinja2 import TemplateError as JinjaError

        try:
            return self._template.render(values)
        except (JinjaError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise SendFailed(f"{self._where} failed: {type(error).__name__}", is_permanent=True) from error
