"""A project's own templates: Go's language renders as upstream renders it, values cannot break out, mistakes are told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from isobase_platform.config import Settings
from isobase_platform.config_auth.email import EmailSettings
from isobase_platform.config_toml import read_config_toml
from isobase_platform.errors import ConfigurationError
from isobase_services.auth.messages import EmailKind
from isobase_services.auth.messages.delivery import MailDelivery
from isobase_services.auth.messages.fetched import FetchedTemplate
from isobase_services.auth.messages.html_text import text_of_html
from isobase_services.auth.messages.model import SendFailed
from isobase_services.auth.messages.overrides import Override, overrides_of
from isobase_services.auth.messages.render import Renderer
from isobase_services.auth.messages.templates import TemplateError, compile_template
from tests.auth.test_messages import LINK, SITE, a_message
from tests.plugins.listening import listening

VALUES: dict[str, Any] = {
    "ConfirmationURL": "https://x.example.com/auth/v1/verify?token=pkce_1&type=signup&redirect_to=https://app.example.com/a",
    "SiteURL": "https://app.example.com",
    "RedirectTo": "https://app.example.com/a?b=c&d=e",
    "TokenHash": "abc",
    "Token": "123456",
    "Email": "alice@example.com",
    "NewEmail": "",
    "Data": {
        "name": "<b>Ålice</b>",
        "plan": {"tier": "pro"},
        "n": 5.0,
        "ok": True,
        "no": False,
        "list": ["a", "b"],
        "link": "javascript:alert(1)",
        "items": None,
        "quote": "a\"b'c d",
        "empty": "",
    },
}


@pytest.mark.parametrize(
    "source, rendered",
    [
        ("{{ .Token }}", "123456"),
        ("{{.Token}} {{- .Token -}}  x", "123456123456x"),
        ("{{/* nothing }} */}}a{{- /* b */ -}} c", "ac"),
        ("{{ .Data.plan.tier }}|{{ .Data.plan.none.deeper }}|{{ .Nothing }}", "pro||"),
        ("{{ .Data.items }}{{ .Data.keys }}{{ .Data.__class__ }}", ""),
        ("{{ .Data.n }} {{ .Data.ok }} {{ .Data.no }}", "5 true false"),
        ("{{ if .NewEmail }}a{{ else if .Data.ok }}b{{ else }}c{{ end }}", "b"),
        ("{{ if .NewEmail }}a{{ else if .Data.no }}b{{ else }}c{{ end }}", "c"),
        ("{{ if and .Token (not .NewEmail) }}yes{{ end }}", "yes"),
        ('{{ if eq .Data.plan.tier "free" "pro" }}yes{{ else }}no{{ end }}', "yes"),
        ('{{ if ne .Email "bob@example.com" }}yes{{ end }}', "yes"),
        ("{{ if gt .Data.n 4 }}yes{{ end }}{{ if le .Data.n 4 }}no{{ end }}", "yes"),
        ("{{ with .Data.plan }}{{ .tier }} {{ $.Token }}{{ else }}none{{ end }}", "pro 123456"),
        ("{{ with .Data.empty }}x{{ else }}none {{ .Token }}{{ end }}", "none 123456"),
        ("{{ range .Data.list }}<{{ . }}>{{ end }}", None),
        ("{{ range .Data.list }}[{{ . }}]{{ else }}none{{ end }}", "[a][b]"),
        ("{{ range .Data.empty }}[{{ . }}]{{ else }}none{{ end }}", "none"),
        ('{{ index .Data "plan" "tier" }}{{ index .Data.list 1 }}{{ index .Data.list 9 }}', "prob"),
        ("{{ len .Data.list }}", "2"),
        ("{{ index . $ }}{{ index .Data.list .Data }}", ""),
        ('{{ printf "%s-%q-%v%%" .Token .Token .Data.ok }}', "123456-&#34;123456&#34;-true%"),
        ('{{ or .NewEmail "none" }} {{ .Token | printf "<%s>" }}', "none &lt;123456&gt;"),
        ('{{ `{{ .Code }}` }} {{ "a }} b" }}', "{{ .Code }} a }} b"),
        ("{{ .Data.name }}", "&lt;b&gt;Ålice&lt;/b&gt;"),
        ("{{ .Data.name | html }}", "&lt;b&gt;Ålice&lt;/b&gt;"),
        ("{% raw %}{# {{ .Token }}", "{% raw %}{# 123456"),
        ("{{ if true }}{{ with .Data }}{{ with .plan }}{{ .tier }}{{ end }}{{ end }}{{ end }}", "pro"),
    ],
)
def test_what_go_templates_say_is_rendered(source: str, rendered: str | None) -> None:
    if rendered is None:
        with pytest.raises(TemplateError, match="among the words of a tag"):
            compile_template(source, is_html=True)
        return
    assert compile_template(source, is_html=True).render(VALUES) == rendered


@pytest.mark.parametrize(
    "source, rendered",
    [
        ('<a href="{{ .Data.link }}">', '<a href="#refused">'),
        ('<a title=">" href="{{ .Data.link }}">', '<a title=">" href="#refused">'),
        ('<a xlink:href="{{ .Data.link }}">', '<a xlink:href="#refused">'),
        ('<a href=" {{ .Data.link }}">', '<a href=" #refused">'),
        ('<a title="x > y" href="{{ .SiteURL }}">', '<a title="x > y" href="https://app.example.com">'),
        (
            '<a href="{{ .ConfirmationURL }}">',
            f'<a href="{VALUES["ConfirmationURL"].replace("&", "&amp;")}">',
        ),
        (
            '<a href="{{ .SiteURL }}/confirm?token_hash={{ .TokenHash }}&next={{ .RedirectTo }}">',
            '<a href="https://app.example.com/confirm?token_hash=abc&next='
            'https%3A%2F%2Fapp.example.com%2Fa%3Fb%3Dc%26d%3De">',
        ),
        ("<a href={{ .Data.quote }}>", "<a href=a%22b%27c%20d>"),
        ('<p title="{{ .Data.quote }}">', '<p title="a&#34;b&#39;c d">'),
        ("<p title='{{ .Data.quote }}'>", "<p title='a&#34;b&#39;c d'>"),
        ("<p title={{ .Data.quote }}>", "<p title=a&#34;b&#39;c&#32;d>"),
        ("""<p class="a" title='say "{{ .Token }}'>""", """<p class="a" title='say "123456'>"""),
        ('<p style="color: {{ .Token }}">', '<p style="color: 123456">'),
        ('<p style="color: {{ .Data.link }}">', '<p style="color: #refused">'),
        ("<style>p { color: {{ .Data.quote }} }</style>{{ .Data.quote }}", None),
        ("<!-- <a {{ .Token }} --><b>{{ .Token }}</b>", "<!-- <a 123456 --><b>123456</b>"),
    ],
)
def test_values_cannot_break_out_of_the_place_they_stand_in(source: str, rendered: str | None) -> None:
    expected = "<style>p { color: #refused }</style>a&#34;b&#39;c d" if rendered is None else rendered
    assert compile_template(source, is_html=True).render(VALUES) == expected


@pytest.mark.parametrize(
    "source, line, problem",
    [
        ("a\n{{ .Token ", 2, "does not end"),
        ("{{ if .Token }}", 1, "if has no end"),
        ("\n\n{{ end }}", 3, "end without a beginning"),
        ("{{ else }}", 1, "else without if"),
        ("{{ if .A }}{{ else }}{{ else }}{{ end }}", 1, "a second else"),
        ("{{ $x := .Token }}", 1, ":= is not supported"),
        ("{{ $x }}", 1, "variables are not supported"),
        ("{{ not .Token .Email }}", 1, "does not take 2 arguments"),
        ('{{ template "x" }}', 1, "template is not supported"),
        ('{{ define "x" }}{{ end }}', 1, "define is not supported"),
        ("{{ upper .Token }}", 1, "the function upper is not defined"),
        ("{{ }}", 1, "empty"),
        ("{{ .Token .Email }}", 1, "not expected"),
        ("{{ if }}{{ end }}", 1, "a value is missing"),
        ("{{ (.Token }}", 1, "not closed"),
        ("{{ .Token | .Email }}", 1, "no function"),
        ("{{ .Token & 1 }}", 1, "& is not supported"),
        ("<script>x = '{{ .Token }}'</script>", 1, "in a script"),
        ("<p {{ .Token }}>", 1, "among the words of a tag"),
        ('<p onclick="{{ .Token }}">', 1, "in a script"),
        ("{{ eq }}", 1, "does not take 0 arguments"),
        ("{{ with .A }}{{ else with .B }}{{ end }}", 1, "only {{ else }}"),
        ('{{ "\\x02" }}', 1, "cannot be read"),
    ],
)
def test_what_is_not_supported_is_named_with_its_line(source: str, line: int, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(source, is_html=True)
    assert caught.value.line == line
    assert problem in str(caught.value)


def test_plain_text_is_not_escaped() -> None:
    source = "Hello {{ .Data.name }} & {{ .Data.quote }}"
    assert compile_template(source, is_html=False).render(VALUES) == "Hello <b>Ålice</b> & a\"b'c d"


def test_the_plain_part_of_a_projects_html_keeps_its_links_and_lines() -> None:
    html = (
        "<html><head><title>x</title><style>p {}</style></head><body><h2>Confirm</h2>\n<p>Hello  <b>Alice</b>,<br>follow"
        ' <a href="https://x.example.com/verify?a=1&amp;b=2">this link</a></p><ul><li>one</li><li>two</li></ul>'
        '<p><a href="https://y.example.com">https://y.example.com</a></p></body></html>'
    )
    assert text_of_html(html) == (
        "Confirm\n\nHello Alice,\nfollow this link:\nhttps://x.example.com/verify?a=1&b=2\n\n- one\n- two\n\n"
        "https://y.example.com\n"
    )


def test_the_plain_part_leaves_out_what_the_html_hides_and_does_not_repeat_a_links_address() -> None:
    html = (
        '<div style="color: red; display:none"><div>Preview<br></div>\u200c\u200c</div><span hidden>&nbsp;</span><p>Follow '
        '<a href="https://x.example.com/?next=http%3A%2F%2Fy">https://x.example.com/?next=http://y</a></p>'
    )
    assert text_of_html(html) == "Follow https://x.example.com/?next=http://y\n"


def project(folder: Path, toml: str, **files: str) -> Settings:
    (folder / "supabase" / "templates").mkdir(parents=True)
    for name, text in files.items():
        (folder / "supabase" / "templates" / name.replace("_html", ".html").replace("_j2", ".j2")).write_text(text)
    path = folder / "supabase" / "config.toml"
    path.write_text(toml)
    file = read_config_toml(path, environment={})
    assert file.warnings == ()
    return Settings.model_validate(file.values)


def test_a_projects_templates_and_subjects_take_the_place_of_ours(tmp_path: Path) -> None:
    settings = project(
        tmp_path,
        """
        [auth.email.template.confirmation]
        subject = "{{ .Token }} for {{ .Data.name }}"
        content_path = "./supabase/templates/confirm.html"
        [auth.email.template.recovery]
        subject = "Only the subject"
        [auth.email.template.magic_link]
        content_path = "./supabase/templates/link.j2"
        [auth.email.notification.password_changed]
        enabled = true
        content_path = "./templates/changed.html"
        """,
        confirm_html='<p>Hi {{ .Data.name }}: <a href="{{ .ConfirmationURL }}">confirm</a></p>',
        link_j2="<p>{% if Token %}{{ Token }}{% endif %} {{ Data.name }}</p>",
        changed_html="<p>Changed for {{ .Email }}</p>",
    )
    renderer = Renderer(SITE, overrides_of(settings.auth.email, SITE))
    named = {"name": "Al\r\nBcc: <x>"}

    def rendered(kind: EmailKind) -> tuple[str, str, str]:
        message = a_message(kind)
        mail = renderer.render(type(message)(kind, message.user, message.address, "123456", link=LINK, data=named))
        return mail.subject, mail.html, mail.text

    subject, html, text = rendered(EmailKind.SIGNUP)
    assert subject == "123456 for Al Bcc: <x>"
    assert html == f'<p>Hi Al\r\nBcc: &lt;x&gt;: <a href="{LINK.replace("&", "&amp;")}">confirm</a></p>'
    assert LINK in text
    subject, html, text = rendered(EmailKind.RECOVERY)
    assert subject == "Only the subject"
    assert LINK in text
    assert rendered(EmailKind.MAGICLINK)[1] == "<p>123456 Al\r\nBcc: &lt;x&gt;</p>"
    assert rendered(EmailKind.PASSWORD_CHANGED)[1] == "<p>Changed for alice@example.com</p>"


def test_a_jinja_template_that_breaks_off_is_a_mail_that_was_not_sent(tmp_path: Path) -> None:
    toml = '[auth.email.template.confirmation]\ncontent_path = "supabase/templates/confirm.j2"\n'
    settings = project(tmp_path, toml, confirm_j2="{{ Nothing.deeper }} {{ 1 / 0 }}")
    with pytest.raises(SendFailed, match=r"confirm.j2 failed: UndefinedError") as caught:
        Renderer(SITE, overrides_of(settings.auth.email, SITE)).render(a_message())
    assert caught.value.is_permanent


async def test_a_template_behind_a_url_is_fetched_and_kept_and_its_loss_is_no_loss_of_mail(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = [
        PlainTextResponse("gone", 500),
        PlainTextResponse("<p>one {{ .Token }}</p>"),
        PlainTextResponse("<p>{{ define }}</p>"),
        PlainTextResponse("x" * 600_000),
        PlainTextResponse("<p>two {{ .Token }}</p>"),
    ]
    asked = []

    async def serve(request: Request) -> Response:
        asked.append(request.url.path)
        return answers.pop(0)

    async with listening(Starlette(routes=[Route("/mail/{name}", serve)])) as url:
        template = FetchedTemplate("auth.email.template.confirmation", f"{url}/mail/a", max_age_s=0, retry_after_s=0)
        renderer = Renderer(SITE, {EmailKind.SIGNUP: Override(None, None, template)})
        found = []
        for _ in range(5):
            await renderer.prepare(EmailKind.SIGNUP)
            found.append(renderer.render(a_message()).html.partition(" ")[0])
    assert found == ["<!doctype", "<p>one", "<p>one", "<p>one", "<p>two"]
    assert caplog.text.count("a mail template could not be fetched") == 3
    assert asked == ["/mail/a"] * 5


async def test_a_fetched_template_is_asked_for_once_in_a_while(tmp_path: Path) -> None:
    asked = []

    async def serve(request: Request) -> Response:
        asked.append(request.url.path)
        return PlainTextResponse("<p>{{ .Token }}</p>")

    async with listening(Starlette(routes=[Route("/mail/{name}", serve)])) as url:
        settings = EmailSettings.model_validate({"template": {"confirmation": {"content_url": "/mail/confirm"}}})
        renderer = Renderer(url, overrides_of(settings, url))
        await asyncio.gather(*(renderer.prepare(EmailKind.SIGNUP) for _ in range(5)))
    assert renderer.render(a_message()).html == "<p>123456</p>"
    assert asked == ["/mail/confirm"]


@pytest.mark.parametrize(
    "files, problem",
    [
        ({}, "No such file"),
        ({"confirm_html": "a\n{{ define }}"}, "confirm.html, line 2: define is not supported"),
        ({"confirm_html": "x" * 600_000}, "larger than"),
    ],
)
def test_a_template_that_cannot_be_used_is_told_at_start(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    toml = '[auth.email.template.confirmation]\ncontent_path = "supabase/templates/confirm.html"\n'
    settings = project(tmp_path, toml, **files)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        MailDelivery.of(settings)
    assert "auth.email.template.confirmation.content_path" in str(caught.value)
