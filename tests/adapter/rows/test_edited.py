"""A letter that an operator edited: columns left out, other values, in the transaction that writes."""

from __future__ import annotations

import pytest

from isobase_adapter.rows.sql_carrier import EditRefused
from isobase_adapter.sides import Side
from isobase_adapter.things import Thing, ThingKind
from tests.adapter.rows.conftest import Sides

TABLE = """
create table public.orders (id int primary key, state text default 'new', price numeric check (price < 100), tags jsonb);
alter table public.orders owner to postgres;
"""


def order(number: int) -> Thing:
    return Thing(ThingKind.ROW, "public.orders", (number,))


@pytest.fixture
def orders(sides: Sides) -> Sides:
    sides.both(TABLE)
    sides.sql(Side.SUPABASE, "alter table public.orders drop constraint orders_price_check")
    sides.sql(
        Side.SUPABASE, "insert into public.orders values (1, 'paid', 1234567890123456789.123456789, '{\"a\": 1.10}')"
    )
    return sides


async def carry(
    sides: Sides, number: int, leave_out: tuple[str, ...] = (), image: dict[str, object] | None = None
) -> None:
    await sides.carrier.carry_edited(order(number), Side.ISOBASE, leave_out=leave_out, image=image, fence=None)


def there(sides: Sides) -> list[tuple[object, ...]]:
    return [tuple(map(str, row)) for row in sides.sql(Side.ISOBASE, "select * from public.orders order by id")]


async def test_a_column_that_is_left_out_keeps_the_targets_value(orders: Sides) -> None:
    await carry(orders, 1, ("price", "state"))
    assert there(orders) == [("1", "new", "None", "{'a': 1.1}")]
    orders.sql(Side.ISOBASE, "update public.orders set price = 7, state = 'kept'")
    orders.sql(Side.SUPABASE, "update public.orders set tags = '[]'")
    await carry(orders, 1, ("price", "state"))
    assert there(orders) == [("1", "kept", "7", "[]")]


async def test_values_are_laid_over_the_sources_row_and_the_rest_stays_exact(orders: Sides) -> None:
    orders.sql(Side.ISOBASE, "alter table public.orders drop constraint orders_price_check")
    await carry(orders, 1, image={"state": "edited", "tags": None})
    assert there(orders) == [("1", "edited", "1234567890123456789.123456789", "None")]
    orders.sql(Side.ISOBASE, "delete from public.orders")
    await carry(orders, 2, image={"state": "only there", "price": 3.5})
    assert there(orders) == [("2", "only there", "3.5", "None")]


async def test_columns_of_the_key_and_unknown_ones_are_refused(orders: Sides) -> None:
    images: tuple[dict[str, object], ...] = ({"id": 2}, {"colour": "red"})
    for image in images:
        with pytest.raises(EditRefused):
            await carry(orders, 1, image=image)
    with pytest.raises(EditRefused):
        await carry(orders, 1, ("id",))
    assert there(orders) == []
