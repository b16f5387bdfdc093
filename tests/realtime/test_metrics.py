"""What ``/metrics`` shows of realtime, and that the pages for operators name all of it."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.realtime.conftest import ALICE, Stack

DOCS = Path(__file__).parents[2] / "docs"
PREFIX = "isobase_realtime_"
NOTES = {"event": "INSERT", "schema": "public", "table": "notes"}


def families(stack: Stack) -> dict[str, dict[tuple[str, ...], float]]:
    """The metrics of realtime by the name that an operator asks for, with the values by labels."""
    text = generate_latest(stack.platform.metrics.registry).decode()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith(PREFIX) and not family.name.endswith("_created"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = {tuple(sample.labels.values()): sample.value for sample in family.samples}
    return found


async def test_the_pages_for_operators_name_every_metric_and_no_other(stack: Stack) -> None:
    pages = {path.name: path.read_text() for path in DOCS.glob("realtime*.md")}
    named = set(re.findall(rf"`({PREFIX}[a-z_]+)[`{{]", "".join(pages.values())))
    # One page has them in a table without what all names begin with.
    rows = re.findall(
        r"^\| (`.*?) \|", pages["realtime.md"].partition("## Metrics")[2].partition("\n## ")[0], re.MULTILINE
    )
    named |= {PREFIX + name for row in rows for name in re.findall(r"`([a-z_]+)[`{]", row)}
    assert named == set(families(stack))


async def test_sockets_channels_deliveries_and_row_changes_are_counted(stack: Stack) -> None:
    alice, other = await stack.connect(), await stack.connect()
    token = stack.token(ALICE)
    await alice.subscribe("a", NOTES, token=token)
    await other.join("a")
    await other.send("realtime:a", "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
    await alice.event("broadcast")
    await stack.sql("insert into notes (owner, body) values ($1, 'x')", ALICE)
    await alice.event("postgres_changes")
    found = families(stack)
    expected = {"sockets": 2, "users": 2, "channels": 2, "topics": 1, "sockets_opened_total": 2, "joins_total": 2}
    expected |= {
        "deliveries_total": 1,
        "waiting_bytes": 0,
        "changes_leader": 1,
        "changes_rows_total": 1,
        "changes_messages_total": 1,
    }
    assert {name: found[PREFIX + name][()] for name in expected} == expected
    await other.close()
    await alice.close()
