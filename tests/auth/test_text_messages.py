"""Text messages against real HTTP servers: what each provider is sent, what of its refusals the caller reads, test codes."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from isobase_platform.config import AuthSettings, Settings
from isobase_platform.config_auth.sms import SmsSettings
from isobase_platform.config_toml import read_config_toml
from isobase_platform.errors import ConfigurationError
from isobase_services.auth.errors import AuthError
from isobase_services.auth.messages import Channel, Messages, SmsKind, SmsMessage
from isobase_services.auth.messages.delivery import MailDelivery
from isobase_services.auth.messages.model import SendFailed
from isobase_services.auth.messages.outbox import Outbox
from isobase_services.auth.messages.render import Renderer
from isobase_services.auth.messages.texts import TestCodes, TextDelivery, TextRules, UnsentTests
from tests.auth.test_messages import SITE, a_counter, a_user
from tests.plugins.listening import listening

PHONE = "15550100"


class Provider:
    """A provider's API that keeps what it was sent and answers what it is told to."""

    def __init__(self, answer: object, status: int = 200) -> None:
        self.answer = answer
        self.status = status
        self.calls: list[tuple[str, str, dict[str, str]]] = []

    async def take(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.calls.append((request.url.path, request.headers.get("authorization", ""), form))
        if isinstance(self.answer, bytes):
            return Response(self.answer, self.status)
        return JSONResponse(self.answer, self.status)


@asynccontextmanager
async def delivering(
    answer: object, status: int = 200, **settings: dict[str, Any]
) -> AsyncIterator[tuple[Provider, TextDelivery]]:
    provider = Provider(answer, status)
    app = Starlette(routes=[Route("/{path:path}", provider.take, methods=["POST"])])
    async with listening(app) as url:
        for group in settings.values():
            group.update(enabled=True, api_url=url)
        sms = SmsSettings.model_validate({"template": "Code: {{ .Code }}", **settings})
        delivery = TextDelivery.of(AuthSettings(sms=sms))
        try:
            yield provider, delivery
        finally:
            await delivery.close()


def a_text(channel: Channel = "sms", template: str | None = None) -> SmsMessage:
    return SmsMessage(SmsKind.CONFIRMATION, a_user(), PHONE, "123456", channel, template)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def twilio(**changes: object) -> dict[str, Any]:
    return {"account_sid": "AC1", "message_service_sid": "MG1", "auth_token": "t0ken", **changes}


async def test_twilio_is_sent_the_text_under_its_account() -> None:
    async with delivering({"sid": "SM1", "status": "queued"}, 201, twilio=twilio()) as (provider, delivery):
        assert await delivery.deliver(a_text()) == "SM1"
        assert await delivery.deliver(a_text(template="{{ .Code }} for you")) == "SM1"
    (path, login, form), (_, _, other) = provider.calls
    assert path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert login == basic("AC1", "t0ken")
    assert form == {"To": "+15550100", "Channel": "sms", "From": "MG1", "Body": "Code: 123456"}
    assert other["Body"] == "123456 for you"


@pytest.mark.parametrize(
    "changes, form",
    [
        ({}, {"From": "MG1", "Body": "Code: 123456"}),
        ({"message_service_sid": "+15550199"}, {"From": "whatsapp:+15550199", "Body": "Code: 123456"}),
        ({"content_sid": "HX1"}, {"From": "MG1", "ContentSid": "HX1", "ContentVariables": '{"1": "123456"}'}),
    ],
)
async def test_twilio_takes_whatsapp(changes: dict[str, str], form: dict[str, str]) -> None:
    async with delivering({"sid": "SM1"}, twilio=twilio(**changes)) as (provider, delivery):
        await delivery.deliver(a_text("whatsapp"))
    assert provider.calls[0][2] == {"To": "whatsapp:+15550100", "Channel": "whatsapp", **form}


@pytest.mark.parametrize(
    "answer, status, told, is_permanent",
    [
        (
            {"code": 21211, "message": "The 'To' number +15550100 is not valid.", "more_info": "https://x"},
            *(400, "The 'To' number +15550100 is not valid. More information: https://x", True),
        ),
        ({"message": "slow down", "more_info": "y"}, 429, "slow down More information: y", False),
        (
            {"sid": "SM1", "status": "failed", "error_message": "no", "error_code": 1},
            200,
            "twilio error: no 1 for",
            True,
        ),
        (b"<html>", 502, "the provider answered 502", False),
        ([], 200, "the provider answered 200", True),
    ],
)
async def test_what_twilio_refuses_is_told_to_the_caller_and_not_to_the_log(
    answer: object, status: int, told: str, is_permanent: bool
) -> None:
    async with delivering(answer, status, twilio=twilio()) as (_, delivery):
        with pytest.raises(SendFailed) as caught:
            await delivery.deliver(a_text())
    assert told in caught.value.told
    assert PHONE not in str(caught.value)
    assert caught.value.is_permanent is is_permanent


async def test_twilio_verify_sends_and_checks_its_own_codes() -> None:
    async with delivering({"sid": "VE1"}, 201, twilio_verify=twilio(message_service_sid="VA1")) as (provider, delivery):
        assert await delivery.deliver(a_text()) == "VE1"
        rules = TextRules(provider=delivery.provider)
        assert rules.checks_codes
        provider.answer = {"status": "approved", "valid": True}
        assert await rules.check_code(PHONE, "654321")
        provider.answer = {"status": "pending", "valid": False}
        assert not await rules.check_code(PHONE, "654321")
        provider.answer, provider.status = {"code": 20404, "message": "not found"}, 404
        assert not await rules.check_code(PHONE, "654321")
        provider.status = 503
        assert not await rules.check_code(PHONE, "654321")
    paths = [call[0] for call in provider.calls]
    assert paths[:2] == ["/v2/Services/VA1/Verifications", "/v2/Services/VA1/VerificationCheck"]
    assert provider.calls[0][2] == {"To": "+15550100", "Channel": "sms"}
    assert provider.calls[1][2] == {"To": "+15550100", "Code": "654321"}


async def test_messagebird_is_sent_the_text() -> None:
    settings = {"originator": "App", "access_key": "k3y"}
    async with delivering({"id": "m1", "recipients": {"totalSentCount": 1}}, messagebird=settings) as (
        provider,
        delivery,
    ):
        assert await delivery.deliver(a_text()) == "m1"
        provider.answer, provider.status = {"errors": [{"code": 9, "description": "no recipients"}]}, 422
        with pytest.raises(SendFailed) as caught:
            await delivery.deliver(a_text())
        assert caught.value.told == "no recipients"
        provider.answer, provider.status = {"recipients": {"totalSentCount": 0}}, 200
        with pytest.raises(SendFailed) as caught:
            await delivery.deliver(a_text())
        assert caught.value.told == "messagebird error: total sent count is 0"
    path, login, form = provider.calls[0]
    assert (path, login) == ("/messages", "AccessKey k3y")
    assert form == {
        "originator": "App",
        "body": "Code: 123456",
        "recipients": PHONE,
        "type": "sms",
        "datacoding": "unicode",
    }


async def test_textlocal_is_sent_the_text() -> None:
    settings = {"sender": "App", "api_key": "k3y"}
    async with delivering({"status": "success", "messages": [{"id": "t1"}]}, textlocal=settings) as (
        provider,
        delivery,
    ):
        assert await delivery.deliver(a_text()) == "t1"
        provider.answer = {"status": "failure", "errors": [{"code": 80, "message": "invalid template"}]}
        with pytest.raises(SendFailed) as caught:
            await delivery.deliver(a_text())
        assert caught.value.told == "textlocal error: invalid template (code: 80)"
    path, _, form = provider.calls[0]
    assert (path, form) == ("/send", {"sender": "App", "apikey": "k3y", "message": "Code: 123456", "numbers": PHONE})


async def test_vonage_is_sent_the_text() -> None:
    settings = {"sender": "App", "api_key": "k", "api_secret": "s"}
    answer = {"messages": [{"message-id": "v1", "status": "0"}]}
    async with delivering(answer, vonage=settings) as (provider, delivery):
        assert await delivery.deliver(a_text()) == "v1"
        await delivery.deliver(a_text(template="Dein Schlüssel: {{ .Code }}"))
        provider.answer = {"messages": [{"status": "4", "error-text": "Bad Credentials"}]}
        with pytest.raises(SendFailed) as caught:
            await delivery.deliver(a_text())
        assert caught.value.told == "vonage error: Bad Credentials (status: 4)"
    path, _, form = provider.calls[0]
    assert path == "/sms/json"
    assert form == {"from": "App", "api_key": "k", "api_secret": "s", "to": PHONE, "text": "Code: 123456"}
    assert provider.calls[1][2]["type"] == "unicode"


async def test_only_twilio_takes_whatsapp() -> None:
    async with delivering({}, vonage={"sender": "App", "api_key": "k", "api_secret": "s"}) as (provider, delivery):
        with pytest.raises(SendFailed) as caught:
            await delivery.deliver(a_text("whatsapp"))
        assert caught.value.told == 'channel type "whatsapp" is not supported'
        rules = TextRules(provider=delivery.provider)
        assert (rules.takes_channel("sms"), rules.takes_channel("whatsapp")) == (True, False)
    assert provider.calls == []
    assert TextRules(has_hook=True).takes_channel("whatsapp")
    assert TextRules().takes_channel("sms")


async def test_the_caller_gets_upstreams_error_with_the_providers_words() -> None:
    async with delivering({"message": "no", "more_info": "x"}, 400, twilio=twilio()) as (_, delivery):
        messages = Messages(MailDelivery(Renderer(SITE), None), delivery, Outbox(a_counter()))
        with pytest.raises(AuthError) as caught:
            await messages.send_sms(a_text())
    assert (caught.value.status, caught.value.code) == (422, "sms_send_failed")
    assert caught.value.message == "Error sending confirmation OTP to provider: no More information: x"


async def test_a_provider_that_is_away_or_slow_is_worth_another_try() -> None:
    settings = SmsSettings.model_validate({"twilio": twilio(enabled=True, api_url="http://127.0.0.1:9")})
    delivery = TextDelivery.of(AuthSettings(sms=settings))
    with pytest.raises(SendFailed) as caught:
        await delivery.deliver(a_text())
    assert not caught.value.is_permanent
    await delivery.close()


@pytest.mark.parametrize("settings", [{}, {"twilio": {"enabled": True, "account_sid": "AC1"}}])
async def test_a_provider_that_is_missing_or_half_set_up_refuses_as_upstream(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    delivery = TextDelivery.of(AuthSettings.model_validate({"sms": settings}))
    for _ in range(2):
        with pytest.raises(AuthError, match="Unable to get SMS provider"):
            await delivery.deliver(a_text())
    assert len([one for one in caplog.records if one.name == "isobase.auth.messages"]) == 1


def test_a_message_template_that_cannot_be_used_is_told_at_start() -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.sms\.template, line 1"):
        TextDelivery.of(AuthSettings(sms=SmsSettings(template="{{ .Code")))
    with pytest.raises(ConfigurationError, match=r"auth\.mfa\.phone\.template, line 1"):
        TextDelivery.of(AuthSettings.model_validate({"mfa": {"phone": {"template": "{{ end }}"}}}))


@pytest.mark.parametrize(
    "valid_until, code",
    [
        (lambda now: None, "123456"),
        (lambda now: now + timedelta(hours=1), "123456"),
        (lambda now: (now + timedelta(hours=1)).replace(tzinfo=None), "123456"),
        (lambda now: now - timedelta(hours=1), None),
    ],
)
async def test_test_codes_stand_for_their_number_while_they_are_valid(
    valid_until: Callable[[datetime], datetime | None], code: str | None
) -> None:
    codes = TestCodes({"+1 5550100": "123456"}, valid_until(datetime.now(UTC)))
    assert TextRules(codes).test_code(PHONE) == code
    assert TextRules(codes).test_code("15550199") is None
    delivery = UnsentTests(codes, TextDelivery(None, ""))
    if code is None:
        with pytest.raises(AuthError):
            await delivery.deliver(a_text())
    else:
        assert await delivery.deliver(a_text()) == "test-otp"


def test_config_toml_names_provider_template_and_test_codes(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        """
        [auth.sms]
        template = "Your code is {{ `{{ .Code }}` }}"
        [auth.sms.test_otp]
        4152127777 = "123456"
        [auth.sms.vonage]
        enabled = true
        from = "App"
        api_key = "k"
        api_secret = "s"
        """
    )
    file = read_config_toml(path, environment={})
    assert file.warnings == ()
    sms = Settings.model_validate(file.values).auth.sms
    assert (sms.template, dict(sms.test_otp)) == ("Your code is {{ .Code }}", {"4152127777": "123456"})
    assert (sms.vonage.enabled, sms.vonage.sender) == (True, "App")
    assert "k3y" not in json.dumps(str(sms))
