"""Makes mail of messages: our own words, or a project's templates in their place.

Jinja2 is loaded with the first mail, not at start. Source of the variables: contracts auth 2.8; supabase/auth
internal/mailer/templatemailer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from isobase_services.auth.messages.contents import CONTENTS, html_template, text_template
from isobase_services.auth.messages.model import EmailKind, EmailMessage, Mail

if TYPE_CHECKING:
    from jinja2 import Template

    from isobase_services.auth.messages.overrides import Override
    from isobase_services.auth.models import JsonObject

__all__ = ["Renderer", "variables"]

MAX_SUBJECT_CHARS = 250
_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


def variables(message: EmailMessage, site_url: str) -> JsonObject:
    """What a template may name, by upstream's names. Absent texts are empty."""
    return {
        "SiteURL": site_url,
        "ConfirmationURL": message.link,
        "Email": message.user.email,
        "NewEmail": message.new_email,
        "SendingTo": message.address,
        "Token": message.code,
        "TokenHash": message.token_hash,
        "RedirectTo": message.redirect_to,
        "Data": message.user.user_metadata if message.data is None else message.data,
        "OldEmail": message.old_email,
        "Phone": message.user.phone,
        "OldPhone": message.old_phone,
        "Provider": message.provider,
        "FactorType": message.factor_type,
    }


def one_line(text: str) -> str:
    """A subject that stays one header: line breaks and control characters are blanks, and it ends somewhere."""
    return _LINE_BREAKS.sub(" ", text).strip()[:MAX_SUBJECT_CHARS]


class Renderer:
    """Renders mail for a project whose app is at ``site_url``; ``overrides`` are the project's own words."""

    def __init__(self, site_url: str, overrides: Mapping[EmailKind, Override] | None = None) -> None:
        self._site_url = site_url
        self._overrides = overrides or {}

    async def prepare(self, kind: EmailKind) -> None:
        """Fetch what lies behind a URL; to be awaited before ``render``."""
        own = self._overrides.get(kind)
        if own is not None and own.fetched is not None:
            await own.fetched.refresh()

    def render(self, message: EmailMessage) -> Mail:
        """The mail of ``message``; what users wrote about themselves is escaped in its HTML."""
        kind = message.kind
        values = variables(message, self._site_url)
        own = self._overrides.get(kind)
        if own is not None and own.subject is not None:
            subject = own.subject.render(values)
        else:
            subject = _template(CONTENTS[kind].subject, is_html=False).render(values)
        body = own.body if own is not None else None
        if body is not None:
            html = body.render(values)
            text = _text_of(html)
        else:
            html = _template(html_template(CONTENTS[kind]), is_html=True).render(values)
            text = _template(text_template(CONTENTS[kind]), is_html=False).render(values)
        return Mail(kind=kind, to=message.address, subject=one_line(subject), html=html, text=text)


def _text_of(html: str) -> str:
    from isobase_services.auth.messages.html_text import text_of_html

    return text_of_html(html)


@cache
def _template(source: str, *, is_html: bool) -> Template:
    """One of our own templates, compiled."""
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(autoescape=is_html).from_string(source)
