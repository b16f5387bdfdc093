"""The local mailbox: Mailpit's HTTP API in its shapes, mail by SMTP, its bounds, and who is kept out."""

from __future__ import annotations

import asyncio
import json
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import httpx
import pytest

from isobase_deploy.mailbox import Listeners, Mailbox
from isobase_deploy.mailbox.message import parse_message
from isobase_deploy.mailbox.search import matcher_of
from isobase_deploy.mailbox.store import MailStore
from isobase_deploy.ports import listen
from isobase_platform.config import MailboxSettings
from tests.plugins.mailbox import MailboxServer

ALICE = {"Email": "alice@example.com", "Name": "Alice"}
ADDRESS_KEYS = {"From", "To", "Cc", "Bcc", "ReplyTo"}


@pytest.fixture
def api(mailbox: MailboxServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=mailbox.url) as client:
        yield client


def send(api: httpx.Client, **fields: object) -> str:
    body = {
        "From": {"Email": "app@example.com", "Name": "App"},
        "To": [ALICE],
        "Subject": "Hello",
        "Text": "The code is 123456.",
        "HTML": "<p>The code is <b>123456</b>.</p><script>alert(1)</script>",
        **fields,
    }
    answer = api.post("/api/v1/send", json=body)
    assert answer.status_code == 200, answer.text
    message_id: str = answer.json()["ID"]
    return message_id


def found(api: httpx.Client, query: str) -> list[str]:
    answer = api.get("/api/v1/search", params={"query": query})
    assert answer.status_code == 200
    return [one["Subject"] for one in answer.json()["messages"]]


def test_a_list_has_mailpits_shape_newest_first(api: httpx.Client) -> None:
    first, second = send(api, Subject="one"), send(api, Subject="two")
    page = api.get("/api/v1/messages").json()
    assert {name: page[name] for name in page if name != "messages"} == {
        "total": 2,
        "unread": 2,
        "count": 2,
        "messages_count": 2,
        "messages_unread": 2,
        "start": 0,
        "tags": [],
    }
    assert [one["ID"] for one in page["messages"]] == [second, first]
    summary: dict[str, Any] = page["messages"][0]
    created, size, message_id = summary.pop("Created"), summary.pop("Size"), summary.pop("MessageID")
    assert summary == {
        "ID": second,
        "Read": False,
        "From": {"Name": "App", "Address": "app@example.com"},
        "To": [{"Name": "Alice", "Address": "alice@example.com"}],
        "Cc": [],
        "Bcc": [],
        "ReplyTo": [],
        "Subject": "two",
        "Username": "",
        "Tags": [],
        "Attachments": 0,
        "Snippet": "The code is 123456 .",
    }
    assert created.endswith("Z")
    assert size > 100
    assert "@" in message_id
    assert [one["ID"] for one in api.get("/api/v1/messages?start=1&limit=1").json()["messages"]] == [first]
    assert len(api.get("/api/v1/messages?start=x&limit=-1").json()["messages"]) == 2


def test_a_message_has_mailpits_shape_and_counts_as_read(api: httpx.Client) -> None:
    attachment = {"Content": "aGVsbG8=", "Filename": "a.txt", "ContentType": "text/plain"}
    message_id = send(
        api,
        Cc=[{"Email": "bob@example.com"}],
        Bcc=["carol@example.com"],
        Headers={"X-Kind": "test"},
        Tags=["t1"],
        Attachments=[attachment],
    )
    message = api.get(f"/api/v1/message/{message_id}").json()
    assert api.get("/api/v1/message/latest").json() == message
    assert set(message) == {
        *("ID", "MessageID", *ADDRESS_KEYS, "ReturnPath", "Subject", "ListUnsubscribe", "Date", "Tags", "Username"),
        *("Text", "HTML", "Size", "Inline", "Attachments"),
    }
    assert message["Text"].strip() == "The code is 123456."
    assert "<b>123456</b>" in message["HTML"]
    assert message["Cc"] == [{"Name": "", "Address": "bob@example.com"}]
    assert message["Bcc"] == [{"Name": "", "Address": "carol@example.com"}]
    assert (message["Tags"], message["ReturnPath"]) == (["t1"], "app@example.com")
    assert message["ListUnsubscribe"] == {"Header": "", "Links": [], "Errors": "", "HeaderPost": ""}
    (part,) = message["Attachments"]
    assert (part["FileName"], part["ContentType"], part["Size"]) == ("a.txt", "text/plain", 5)
    assert part["Checksums"]["MD5"] == "5d41402abc4b2a76b9719d911017c592"
    assert api.get(f"/api/v1/message/{message_id}/part/{part['PartID']}").content == b"hello"
    assert api.get("/api/v1/messages").json()["unread"] == 0
    headers = api.get("/api/v1/message/latest/headers").json()
    assert headers["X-Kind"] == ["test"]
    assert headers["Subject"] == ["Hello"]
    raw = api.get(f"/api/v1/message/{message_id}/raw")
    assert raw.headers["content-type"] == "text/plain; charset=utf-8"
    assert "Subject: Hello" in raw.text


def test_what_is_not_there_is_404_and_what_is_wrong_is_400_in_plain_text(api: httpx.Client) -> None:
    for path in ("nothing", "latest", "nothing/raw", "nothing/headers", "nothing/part/1"):
        assert api.get(f"/api/v1/message/{path}").status_code == 404
    answer = api.get("/api/v1/search")
    assert (answer.status_code, answer.text) == (400, "Error: no search query")
    refused = api.post("/api/v1/send", json={"From": ALICE, "To": [{"Email": "nobody"}]})
    assert (refused.status_code, refused.json()) == (400, {"Error": "invalid To address: nobody"})
    bodies: tuple[object, ...] = (
        *({"To": 5}, [], {"From": ALICE, "Headers": {"Subject": "x"}}),
        {"From": {"Email": "a@b\r\nBcc: c@d"}},
    )
    for body in bodies:
        assert api.post("/api/v1/send", json=body).status_code == 400
    assert api.get("/api/v1/messages").json()["total"] == 0


@pytest.mark.parametrize(
    "query, subjects",
    [
        ("to:alice@example.com", ["for Alice"]),
        ("to:ALICE", ["for Alice"]),
        ("from:app", ["for Bob", "for Alice"]),
        ("subject:alice", ["for Alice"]),
        ('subject:"for alice"', ["for Alice"]),
        ('"is 123456"', ["for Alice"]),
        ("654321", ["for Bob"]),
        ("for -to:alice", ["for Bob"]),
        ("is:read", []),
        ("is:unread to:bob", ["for Bob"]),
        ("!subject:bob", ["for Alice"]),
        ("addressed:bob@", ["for Bob"]),
        ("has:attachment", []),
        ("larger:1mb", []),
        ("smaller:1mb after:2020-01-01", ["for Bob", "for Alice"]),
        ("before:2020-01-01", []),
        ("before:never to:bob", ["for Bob"]),
        ("alert", []),
    ],
)
def test_searches_find_by_field_text_and_state(api: httpx.Client, query: str, subjects: list[str]) -> None:
    send(api, Subject="for Alice")
    send(api, Subject="for Bob", To=[{"Email": "bob@example.com"}], Text="654321", HTML="<p>654321</p>")
    assert found(api, query) == subjects


def test_latest_takes_a_search(api: httpx.Client) -> None:
    send(api, Subject="for Alice")
    send(api, Subject="for Bob", To=[{"Email": "bob@example.com"}])
    assert api.get("/api/v1/message/latest?query=to:alice").json()["Subject"] == "for Alice"


def test_deleting_some_all_or_what_a_search_finds(api: httpx.Client) -> None:
    first = send(api, Subject="one")
    send(api, Subject="two")
    send(api, Subject="three")
    assert api.request("DELETE", "/api/v1/messages", json={"IDs": [first, "unknown"]}).text == "ok"
    assert found(api, "from:app") == ["three", "two"]
    assert api.delete("/api/v1/search", params={"query": "subject:two"}).text == "ok"
    assert found(api, "from:app") == ["three"]
    assert api.put("/api/v1/messages", json={"Read": True}).text == "ok"
    assert found(api, "is:read") == ["three"]
    assert api.delete("/api/v1/messages").text == "ok"
    info = api.get("/api/v1/info").json()
    assert (info["Messages"], info["Unread"]) == (0, 0)
    assert info["RuntimeStats"]["MessagesDeleted"] >= 3


def test_the_oldest_make_room_by_number_and_by_bytes() -> None:
    store = MailStore(max_messages=2, max_bytes=1000)
    for name in ("one", "two", "three"):
        store.add(parse_message(f"Subject: {name}\r\n\r\nx".encode()))
    assert [one.subject for one in store.newest_first()] == ["three", "two"]
    store.add(parse_message(b"Subject: large\r\n\r\n" + b"x" * 975))
    assert [one.subject for one in store.newest_first()] == ["large"]
    store.add(parse_message(b"Subject: too large\r\n\r\n" + b"x" * 2000))
    assert (store.count, store.size_bytes) == (0, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff\xfe",
        b"From: <<<>>>\r\nTo: ,,;\r\nDate: yesterday\r\nSubject: =?utf-8?b?////?=\r\n\r\n\xff",
        b"Content-Type: text/plain; charset=none\r\n\r\n\xff",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/html; charset=utf-99\r\n\r\n<p\r\n",
        b"Subject: " + b"a" * 100_000 + b"\r\nFrom: =?x?q?=\r\n\r\n",
        b"From: \xff)@[x\r\nTo: \xc3\r\nX-\xff: \xff\r\nSubject: \xff\r\n\r\n",
        b"Content-Type: text/html\r\n\r\nx<![,y> <![x[<p>",
        b"Content-Type: a/b\xff\xc3\r\nContent-ID: \xff\r\nContent-Disposition: inline; filename*=\xff''\xff\r\n\r\nx",
        b"Message-ID: <[\r\nReply-To: @@\r\nContent-Disposition: ;;;\r\n\r\nhello",
    ],
)
def test_no_message_is_too_odd_to_be_kept_and_shown(raw: bytes) -> None:
    message = parse_message(raw, sender="a@example.com", recipients=["b@example.com"])
    assert message.summary["Bcc"] == [{"Name": "", "Address": "b@example.com"}]
    assert set(message.json) >= ADDRESS_KEYS
    assert message.raw == raw
    json.dumps([message.json, message.summary, message.headers], ensure_ascii=False).encode()
    assert all(part.content_type.isascii() for part in message.parts)
    assert matcher_of("addressed:nobody from:a@example.com")(message) is False


def test_names_of_other_sites_and_forms_of_other_pages_are_kept_out(api: httpx.Client) -> None:
    port = api.base_url.port
    for host in (f"evil.example.com:{port}", "127.0.0.1.evil.example.com", ""):
        answer = api.get("/api/v1/messages", headers={"host": host})
        assert answer.status_code in {400, 403}, host
    for host in (f"localhost:{port}", f"[::1]:{port}", f"192.168.0.9:{port}", "mailbox", "host.docker.internal"):
        assert api.get("/api/v1/messages", headers={"host": host}).status_code == 200
    form = api.post("/api/v1/send", content="{}", headers={"content-type": "text/plain"})
    assert form.status_code == 400
    assert "access-control-allow-origin" not in api.get("/api/v1/messages", headers={"origin": "https://x"}).headers


async def test_a_name_in_the_public_dns_is_answered_where_the_settings_have_it() -> None:
    app = Mailbox(MailboxSettings(hosts=("mail.Example.com",))).app
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://mail.example.com:54324") as client:
        assert (await client.get("/api/v1/info")).status_code == 200
        assert (await client.get("/api/v1/info", headers={"host": "other.example.com"})).status_code == 403


def test_the_page_loads_nothing_from_elsewhere_and_mail_runs_nothing(api: httpx.Client) -> None:
    message_id = send(api)
    page = api.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("</", "")
    for path in ("/page.css", "/page.js", f"/view/{message_id}"):
        assert api.get(path).status_code == 200
    shown = api.get(f"/view/{message_id}.html")
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("sandbox ")
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy
    assert "123456" in shown.text
    assert api.get(f"/view/{message_id}.txt").text.strip() == "The code is 123456."
    assert api.get("/view/latest").headers["location"] == f"/view/{message_id}"


async def test_other_programs_send_by_smtp_with_any_login() -> None:
    listeners = Listeners(listen("127.0.0.1", 0), listen("127.0.0.1", 0))
    assert listeners.smtp is not None
    port = listeners.smtp.getsockname()[1]
    box = Mailbox(MailboxSettings(max_bytes=20_000))

    def talk() -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "app@example.com", "Alice <alice@example.com>", "Grüße"
        message.set_content("Hello")
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            client.login("anybody", "anything")
            client.send_message(message, to_addrs=["alice@example.com", "bob@example.com"])
            with pytest.raises(smtplib.SMTPException):
                client.sendmail("app@example.com", ["alice@example.com"], "Subject: large\r\n\r\n" + "x\r\n" * 20_000)

    async with box.serving(listeners):
        await asyncio.to_thread(talk)
    (kept,) = box.store.newest_first()
    assert kept.subject == "Grüße"
    assert kept.addresses["To"] == [{"Name": "Alice", "Address": "alice@example.com"}]
    assert kept.addresses["Bcc"] == [{"Name": "", "Address": "bob@example.com"}]
