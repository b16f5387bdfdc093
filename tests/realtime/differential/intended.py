"""Where Isobase answers otherwise on purpose: what may differ, and why. Everything else must be the same."""

from __future__ import annotations

from tests.auth.differential.intended import Intended
from tests.realtime.differential.values import JsonValue

__all__ = ["INTENDED", "is_intended"]

_CRASH = r"(error|UnknownErrorOnChannel: .*|<absent>)"

INTENDED: tuple[Intended, ...] = (
    Intended(
        "A join whose payload is partly wrong goes on with the rest; upstream's channel fails on some of them.",
        place=r".*\.phx_reply\[0\].*|.*phx_reply\[0\].*",
        request=r".*('broadcast': 5|'config': 'x').*|all are answered",
        upstream=_CRASH,
    ),
    Intended(
        "An error reply is an object: realtime-py drops a reply whose response is a bare text.",
        place=r".*\.response",
        upstream="payload_size_exceeded",
        ours=r"\{'reason': 'payload_size_exceeded'\}",
    ),
    Intended(
        "A binary broadcast that says it is JSON and is none is dropped; upstream hands it on and breaks the text of 1.0.0.",
        place=r"\.(a|b|old)",
        request=r".*bad json.*",
        ours="<absent>",
    ),
    Intended(
        "What is no JSON in a binary broadcast's metadata is left out; upstream drops the broadcast.",
        place=r"\.(a|b|old)",
        request=r".*metano json.*",
        upstream="<absent>",
    ),
    Intended(
        "A binary broadcast without a ref has none; upstream gives back an empty one.",
        place=r".*phx_reply\[0\]\[1\]",
        request=r".*noref.*",
        upstream="",
        ours="None",
    ),
    Intended(
        "An old channel's end is told before the new one's beginning; upstream sends them in the other order.",
        place=r".*\.order\..*",
        request=r".*phx_join.*",
        upstream=r"(.*phx_reply.*phx_close.*|phx_reply|phx_close)",
    ),
    Intended(
        "Nobody is told that its own channel has left, ended or been replaced; upstream tells it now and then.",
        place=r".*( presence_diff|\.order\..*)",
        request=r"\w+ says .*(phx_join|phx_leave|access_token).*",
        upstream=r".*('leaves': \{'.*|'presence_diff'\])",
        ours=r"<absent>|\[.*'phx_(reply|close)'\]",
    ),
    Intended(
        "Whether a member's own difference or the reply to its track comes first is not said; upstream sends either.",
        place=r".*\.order\..*",
        request=r".*'presence'.*",
    ),
    Intended(
        "A reference in what a client tracks is not taken for its own; upstream sends both under one name.",
        place=r".*\.phx_ref(_prev)?",
        request=r".*presence_of_nobodys_key.*",
    ),
    Intended(
        "Who tracks on a private channel that it joined without presence sees differences from then on. Upstream means the"
        " same, but asks the right to read them only where the right to write them is not known yet, and a broadcast before"
        " has asked both: then it shows none.",
        place=r"\.\w+(\.(frames|order)\.realtime:private.*)?",
        request=r"\w+ says .*realtime:private.*",
        upstream=r"(<absent>|.*phx_reply.*)",
        ours=r".*presence_diff.*|<absent>",
    ),
    Intended(
        "So references have other numbers.",
        place=r".*\.phx_ref(_prev)?",
        request=r"\w+ says .*sequence\d+.*",
        upstream=r"<phx_ref \d+>",
        ours=r"<phx_ref \d+>",
    ),
    Intended(
        "Such a channel's differences are fanned out as all are; upstream pushes them one by one, with the join's ref.",
        place=r".*presence_diff\[\d+\](\[0\]|\.ref|\.join_ref)",
        ours="None",
    ),
    Intended(
        "A row of messages of the extension presence is no broadcast; upstream sends it. Who may write presence alone by the"
        " policies of a project could broadcast by such a row.",
        place=r"\.(a|old)",
        request=r"SQL insert into realtime.messages .*'presence'.*",
        ours="<absent>",
    ),
    Intended(
        "So its id is not among those seen.",
        place=r".*\.(metadata|meta)\.id",
        request=r"SQL insert into realtime.messages .*",
    ),
    Intended(
        "A change that cannot be shown has its time all the same: realtime-py drops one without.",
        place=r".*\.commit_timestamp",
        upstream="None",
    ),
    Intended(
        "A value of char(n) or bit(n) is whole; upstream casts it to the type without a length, which cuts it to one.",
        place=r".*\.record\.(i|w)",
    ),
    Intended(
        "A number that is none, or infinite, is the text that to_jsonb makes of it; wal2json has null.",
        place=r".*\.record\.(d|e|f)",
        upstream="None",
        ours=r"(NaN|Infinity)",
    ),
    Intended(
        "One subscription is told once; upstream tells it again when it subscribes anew for reasons of its own.",
        place=r".*system",
        upstream=r".*'Subscribed to PostgreSQL'.*'Subscribed to PostgreSQL'.*",
        ours=r"[^S]*'Subscribed to PostgreSQL'[^S]*",
    ),
    Intended(
        "A long list in a message stays on its line.",
        place=r".*\.message",
        upstream=r".*too many values for `in` filter. Maximum 100",
        ours=r".*too many values for `in` filter. Maximum 100",
    ),
    Intended(
        "A batch is read as JSON whatever its content type says; upstream finds nothing in it.",
        place=r"\.(status|body.*|headers.*|a|old)",
        request=r"POST /broadcast .*",
        upstream=r"(422|.*can't be blank.*|<absent>|application/json.*)",
        ours=r"(202||<absent>|.*'event': 'hi'.*)",
    ),
    Intended(
        "The plain text of an error is no HTML.", place=r"\.headers\.content-type", upstream=r"text/html; charset=utf-8"
    ),
)


def is_intended(step: str, place: str, upstream: JsonValue, ours: JsonValue) -> bool:
    """Whether a difference is in the table."""
    return any(entry.covers(step, place, upstream, ours) for entry in INTENDED)
