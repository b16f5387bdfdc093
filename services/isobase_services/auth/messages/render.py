"""Makes mail of messages: our own words, or a project's templates in their place.

Jinja2 is loaded with the first mail, not at start. Source of the variables: contracts auth 2.8; supabase/auth
internal/mailer/templatemailer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from isobase_services.auth.messages.contents import CONTENTS, html_template, text_template
from isobase_services.auth.messages.model import EmailKind, EmailMessage, Mail

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

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
    """Renders mail for a project whose app is at ``site_url``."""

    def __init__(self, site_url: str) -> None:
        self._site_url = site_url
        self._html_words: SandboxedEnvironment | None = None
        self._plain_words: SandboxedEnvironment | None = None

    def render(self, message: EmailMessage) -> Mail:
        """The mail of ``message``; what users wrote about themselves is escaped in its HTML."""
        values = variables(message, self._site_url)
        subject, html, text = self._own(message.kind, values)
        return Mail(kind=message.kind, to=message.address, subject=one_line(subject), html=html, text=text)

    def _own(self, kind: EmailKind, values: JsonObject) -> tuple[str, str, str]:
        content = CONTENTS[kind]
        plain, html = self._environments()
        return (
            plain.from_string(content.subject).render(values),
            html.from_string(html_template(content)).render(values),
            plain.from_string(text_template(content)).render(values),
        )

    def _environments(self) -> tuple[SandboxedEnvironment, SandboxedEnvironment]:
        """Jinja2 for plain text and for HTML."""
        from jinja2.sandbox import SandboxedEnvironment

        if self._plain_words is None or self._html_words is None:
            self._plain_words = SandboxedEnvironment(autoescape=False)
            self._html_words = SandboxedEnvironment(autoescape=True)
        return self._plain_words, self._html_words
