"""What a plan says of things that no copy brings: parts of the database that stay behind, what calls edge functions, what
the dashboard alone knows, and what Isobase adds to a project's realtime.

Pure: facts in, items out.
"""

from __future__ import annotations

from collections.abc import Iterator

from isobase_adapter.bulk.plan.facts import Facts
from isobase_adapter.bulk.plan.items import Item, Verdict

__all__ = ["beside"]

MAX_NAMED = 10
API_SETTINGS = {
    "pgrst.db_schemas": "[api] schemas",
    "pgrst.db_extra_search_path": "[api] extra_search_path",
    "pgrst.db_max_rows": "[api] max_rows",
}
"""Settings of the role that the data API logs in with, and where Isobase has them."""
DASHBOARD = (
    ("sign-in", "providers, one-time codes, password rules, CAPTCHA, length of sessions and tokens, signing keys"),
    ("mail and SMS", "templates, the SMTP server, the sender of SMS, limits of both"),
    ("addresses", "the site's URL, allowed redirects, a domain of your own"),
    ("storage and API", "the size limit of files, exposed schemas, the most rows of an answer"),
    ("network", "allowed addresses, TLS, replicas, backups"),
)
"""Settings that the dashboard keeps outside of the database, by what they are about."""


def beside(source: Facts, target: Facts) -> Iterator[Item]:
    """Give the findings."""
    yield from _left_behind(source)
    yield from _rooms(source, target)
    yield from _edge_functions(source)
    yield from _settings(source)


def _left_behind(source: Facts) -> Iterator[Item]:
    if source.one("large_objects").get("count"):
        columns = [row["name"] for row in source.rows("large_object_columns")]
        text = "they are not copied"
        if columns:
            text += f"; columns that may refer to them: {_named(columns)}"
        count = str(source.one("large_objects")["count"])
        yield Item("large objects", count, Verdict.NO, text, "move them into bytea columns or into a bucket")
    for row in source.rows("event_triggers"):
        yield Item(
            "event trigger",
            row["name"],
            Verdict.REMARK,
            f"on {row['event']}, function {row['function']}; it is not copied (its function is)",
            "make it by hand where the target allows it",
        )
    for row in source.rows("cron_jobs"):
        text = f"schedule {row['schedule']}{'' if row['is_active'] else ', switched off'}; it is not copied"
        todo = "schedule it at the target at cutover, and end it here: it would run at both sides"
        if row["calls_function"]:
            text += "; it calls an edge function"
        yield Item("cron job", row["name"], Verdict.REMARK, text, todo)


def _rooms(source: Facts, target: Facts) -> Iterator[Item]:
    """Isobase's rooms are private channels: what a project calls ``room:ID`` meets them where a room ID is made."""
    own = [row for row in source.rows("realtime_policies") if not row["is_of_rooms"]]
    rooms = [row for row in target.rows("realtime_policies") if row["is_of_rooms"]]
    if not own or not rooms:
        return
    naming = [row["name"] for row in own if row["names_rooms"]]
    text = (
        "Isobase's policies isobase_rooms_... on realtime.messages also hold for private channels named room:ID: once there"
        " is a room ID at Isobase, such a channel is open to its members alone"
    )
    if naming:
        text += f"; the project's policies name such channels: {_named(naming)}"
    if count := target.one("rooms").get("count"):
        text += f"; {count} rooms are there already"
    todo = (
        "copy the policies before users come: then users can make rooms of ids ~... alone; call no channel of yours room:~..."
        " and make no room of a channel's id as the service (docs/realtime-rooms.md)"
    )
    yield Item("realtime", "private channels room:...", Verdict.REMARK, text, todo)


def _edge_functions(source: Facts) -> Iterator[Item]:
    callers = [
        *(f"function {row['schema']}.{row['name']}" for row in source.rows("functions") if row.get("calls_function")),
        *(f"cron job {row['name']}" for row in source.rows("cron_jobs") if row["calls_function"]),
    ]
    text = "they are not in the database: whether there are some cannot be seen from here"
    if callers:
        text = f"they are not in the database, and it calls some: {_named(callers)}"
    todo = (
        "Isobase runs none: serve each as an HTTP service behind /functions/v1/NAME, or leave the flag `functions` off"
        " and Supabase's project up (docs/sdk/functions.md)"
    )
    yield Item("edge functions", "all", Verdict.REMARK, text, todo)


def _settings(source: Facts) -> Iterator[Item]:
    for row in source.rows("api_settings"):
        if row["name"] in API_SETTINGS:
            text = f"set for the data API: {row['value']}"
            yield Item("setting", row["name"], Verdict.REMARK, text, f"set {API_SETTINGS[row['name']]} at Isobase")
    for row in source.rows("auth_hooks"):
        text = "auth may call it, as a hook does: whether it is one is set in the dashboard"
        yield Item("auth hook", row["name"], Verdict.REMARK, text, "set it at Isobase (docs/auth-hooks.md)")
    for name, what in DASHBOARD:
        text = f"{what}: kept outside of the database, not looked at"
        yield Item("dashboard", name, Verdict.REMARK, text, "compare the dashboard with docs/settings.md, and set it")


def _named(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
