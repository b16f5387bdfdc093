"""What our own mails say, by kind, and the HTML and the plain text around them.

The words are Jinja2 with the variables of ``render.variables``. A project replaces them in config.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isobase_services.auth.messages.model import EmailKind

__all__ = ["CONTENTS", "Content", "html_template", "text_template"]


@dataclass(slots=True, frozen=True)
class Content:
    """The words of one kind of mail. ``button`` labels the link, ``code_label`` stands above the code; empty: none."""

    subject: str
    heading: str
    line: str
    button: str = ""
    code_label: str = ""
    ending: str = ""


_OR_CODE = "Or enter this code:"
_NOT_ME = "If this was not you, nothing has changed and this mail can be ignored."
_ACT = "If you did not do this, change your password and write to the support of this service."

CONTENTS: Mapping[EmailKind, Content] = {
    EmailKind.SIGNUP: Content(
        subject="Confirm your e-mail address",
        heading="Welcome",
        line="Please confirm that {{ Email }} is your address.",
        button="Confirm address",
        code_label=_OR_CODE,
        ending="If you did not sign up, this mail can be ignored.",
    ),
    EmailKind.INVITE: Content(
        subject="You are invited",
        heading="You are invited",
        line="An account on {{ SiteURL }} was prepared for you.",
        button="Accept the invitation",
        code_label=_OR_CODE,
    ),
    EmailKind.MAGICLINK: Content(
        subject="Your link to sign in",
        heading="Sign in",
        line="The link works once and for a short time.",
        button="Sign in",
        code_label=_OR_CODE,
        ending=_NOT_ME,
    ),
    EmailKind.RECOVERY: Content(
        subject="Choose a new password",
        heading="Choose a new password",
        line="Somebody asked for a new password for {{ Email }}.",
        button="Choose a password",
        code_label=_OR_CODE,
        ending=_NOT_ME,
    ),
    EmailKind.EMAIL_CHANGE: Content(
        subject="Confirm the change of your e-mail address",
        heading="Confirm the change",
        line="Your address is to change{% if Email %} from {{ Email }}{% endif %} to {{ NewEmail }}.",
        button="Confirm the change",
        code_label=_OR_CODE,
        ending=_NOT_ME,
    ),
    EmailKind.REAUTHENTICATION: Content(
        subject="{{ Token }} is your code",
        heading="Is it you?",
        line="Enter this code to go on.",
        code_label="Your code:",
        ending="Give it to nobody. If you did not ask for it, change your password.",
    ),
    EmailKind.PASSWORD_CHANGED: Content(
        subject="Your password was changed",
        heading="Your password was changed",
        line="The account of {{ Email }} has a new password.",
        ending="If you did not do this, choose a new password and write to the support of this service.",
    ),
    EmailKind.EMAIL_CHANGED: Content(
        subject="Your e-mail address was changed",
        heading="Your e-mail address was changed",
        line="The address of your account was {{ OldEmail }} and is {{ Email }} now.",
        ending="If you did not do this, write to the support of this service.",
    ),
    EmailKind.PHONE_CHANGED: Content(
        subject="Your phone number was changed",
        heading="Your phone number was changed",
        line="The number of your account{% if OldPhone %} was {{ OldPhone }} and{% endif %} is {{ Phone }} now.",
        ending=_ACT,
    ),
    EmailKind.IDENTITY_LINKED: Content(
        subject="A new way to sign in",
        heading="A new way to sign in",
        line="The account of {{ Email }} can be opened through {{ Provider }} now.",
        ending=_ACT,
    ),
    EmailKind.IDENTITY_UNLINKED: Content(
        subject="A way to sign in was removed",
        heading="A way to sign in was removed",
        line="The account of {{ Email }} can be opened through {{ Provider }} no more.",
        ending=_ACT,
    ),
    EmailKind.FACTOR_ENROLLED: Content(
        subject="A second factor was added",
        heading="A second factor was added",
        line="The account of {{ Email }} has a new second factor ({{ FactorType }}).",
        ending=_ACT,
    ),
    EmailKind.FACTOR_UNENROLLED: Content(
        subject="A second factor was removed",
        heading="A second factor was removed",
        line="A second factor ({{ FactorType }}) of the account of {{ Email }} was removed.",
        ending=_ACT,
    ),
}


def html_template(content: Content) -> str:
    """The Jinja2 text of the HTML part.

    Inline styles, because mail programs drop style sheets; no image and nothing to load, so that opening it tells nobody.
    """
    button = code = ending = ""
    if content.button:
        button = (
            '{% if ConfirmationURL %}<p style="margin:24px 0"><a href="{{ ConfirmationURL }}" style="display:inline-block;'
            'padding:12px 20px;border-radius:6px;background:#18181b;color:#ffffff;text-decoration:none">'
            f"{content.button}</a></p>\n{{% endif %}}"
        )
    if content.code_label:
        code = (
            f"{{% if Token %}}<p>{content.code_label}</p>\n"
            '<p style="font:600 28px/1 ui-monospace,monospace;letter-spacing:4px">{{ Token }}</p>\n{% endif %}'
        )
    if content.ending:
        ending = f'<p style="margin-top:24px;color:#71717a;font-size:14px">{content.ending}</p>\n'
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{content.heading}</title></head>
<body style="margin:0;padding:24px;background:#f4f4f5;color:#18181b;font:16px/1.5 system-ui,sans-serif">
<div style="max-width:480px;margin:0 auto;padding:32px;background:#ffffff;border-radius:8px">
<h1 style="margin:0 0 16px;font-size:22px">{content.heading}</h1>
<p>{content.line}</p>
{button}{code}{ending}</div>
</body>
</html>
"""


def text_template(content: Content) -> str:
    """The Jinja2 text of the plain part: the same words, the link in full."""
    parts = [content.heading, content.line]
    if content.button:
        parts.append(f"{content.button}:\n{{{{ ConfirmationURL }}}}")
    if content.code_label:
        parts.append(f"{content.code_label}\n{{{{ Token }}}}")
    if content.ending:
        parts.append(content.ending)
    return "\n\n".join(parts) + "\n"
