"""What both sides hold of the sample app, in the words of its journals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from tests.adapter.pair import SideStack

__all__ = ["digest", "found_at", "name_of", "value_of"]


def found_at(side: SideStack, seen: dict[tuple[str, ...], str] | None = None) -> dict[str, str]:
    """Give each thing's value at a side, by name. seen: objects' values by version, read once each where it is given."""
    found = {f"notes/{title}": body for title, body in side.query("select title, body from public.notes")}
    found |= {f"orders/{key}": str(net) for key, net in side.query("select id, net::int from public.orders")}
    found |= {
        f"lines/{order}/{number}": str(amount)
        for order, number, amount in side.query("select order_id, line_no, amount from public.order_lines")
    }
    found |= {
        f"stock/{article}": str(amount) for article, amount in side.query('select "Article", amount from shop.stock')
    }
    found |= {
        f"users/{email}": number
        for email, number in side.query(
            "select email, raw_user_meta_data ->> 'number' from auth.users where email like 'fact-%'"
        )
    }
    seen = {} if seen is None else seen
    for bucket, name, version, at in side.query(
        "select bucket_id, name, coalesce(version, ''), updated_at::text from storage.objects"
    ):
        known = (side.url, bucket, name, version, at)
        if known not in seen:
            answer = httpx.get(
                f"{side.url}/storage/v1/object/{bucket}/{quote(name)}",
                headers={"apikey": side.service_role_key, "authorization": f"Bearer {side.service_role_key}"},
                timeout=30,
            )
            seen[known] = digest(answer.content) if answer.status_code == 200 else f"{answer.status_code}"
        found[f"{bucket}/{name}"] = seen[known]
    return found


def name_of(row: Mapping[str, Any], table: str) -> str:
    """Give the name of a row as a dead letter keeps it."""
    match table:
        case "public.notes":
            return f"notes/{row['title']}"
        case "public.orders":
            return f"orders/{row['id']}"
        case "public.order_lines":
            return f"lines/{row['order_id']}/{row['line_no']}"
        case _:
            return f"stock/{row['Article']}"


def value_of(row: Mapping[str, Any], table: str) -> str:
    """Give the value of a row as JSON has it."""
    match table:
        case "public.notes":
            return str(row["body"])
        case "public.orders":
            return str(int(row["net"]))
        case _:
            return str(row["amount"])


def digest(data: bytes) -> str:
    """The value of an object in a journal."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()
