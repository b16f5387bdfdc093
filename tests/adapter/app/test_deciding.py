"""What the operator of the chaos runs does about dead letters keeps what the app was told, whichever side has it."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.app.deciding import Undecidable, decide
from tests.adapter.app.journal import Expected, Report
from tests.adapter.app.operating import Mover
from tests.adapter.client.moving import set_stage
from tests.adapter.pair import Pair

STOCK = Thing(ThingKind.TABLE, "shop.stock")
LETTER = (
    "insert into isobase.outbox (state, capability, target, epoch, thing, lock_number, next_at, is_conflict, versions)"
    " values ('dead', 'table:shop.stock', %s, 0, %s::jsonb, %s, 'infinity', true, '{}')"
)


def bury(pair: Pair, target: Side) -> None:
    """Leave a letter of the whole table."""
    pair.isobase.query(LETTER, str(target), json.dumps(STOCK.as_json()), STOCK.lock_number)


def stocked(**articles: str | None) -> Report:
    """What an app was told of its stock."""
    return Report({f"stock/{name}": Expected({amount}, True) for name, amount in articles.items()})


def holds(pair: Pair, side: Side, **articles: int) -> None:
    """Have a side hold this stock, and nothing else."""
    stack = pair.supabase if side is Side.SUPABASE else pair.isobase
    stack.query("truncate shop.stock")
    for name, amount in articles.items():
        stack.query('insert into shop.stock ("Article", amount) values (%s, %s)', name, amount)


async def test_a_table_that_was_written_at_both_sides_has_all_that_the_app_was_told(clean_pair: Pair) -> None:
    pair, counts = clean_pair, Counter[str]()
    set_stage(pair, "*", Stage.LIVE, writer=Side.SUPABASE)
    holds(pair, Side.SUPABASE, both=1, supabases=2, changed=3, removed=4)
    holds(pair, Side.ISOBASE, both=1, isobases=5, changed=6, gone=7)
    for side in Side:
        bury(pair, side)
    report = stocked(both="1", supabases="2", isobases="5", changed="6", removed=None, gone=None)
    async with Mover(pair, "*") as mover:
        assert decide(pair, "*", report, counts)
        assert (await mover.drain(30)).waiting == 0
        assert not decide(pair, "*", report, counts)
    assert pair.differing(["shop.stock"]) == {}
    found = {row["Article"]: row["amount"] for row in pair.isobase.rows("shop.stock")}
    assert found == {"both": 1, "supabases": 2, "isobases": 5, "changed": 6}
    assert counts == {"decided: a row of the other side": 3, "decided: dropped": 1, "decided: table retried": 1}


async def test_what_the_app_was_told_and_nobody_has_is_lost(clean_pair: Pair) -> None:
    set_stage(clean_pair, "*", Stage.LIVE, writer=Side.SUPABASE)
    holds(clean_pair, Side.SUPABASE, article=1)
    holds(clean_pair, Side.ISOBASE, article=2)
    bury(clean_pair, Side.ISOBASE)
    with pytest.raises(Undecidable, match="stock/article"):
        decide(clean_pair, "*", stocked(article="3"), Counter())
    assert clean_pair.isobase.query("select state from isobase.outbox") == [("dead",)]
