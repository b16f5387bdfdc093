"""Policies that are asked because the log told of a change answer by what is after it, not by what was."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import closing

import psycopg2

from isobase_platform.config import Settings
from isobase_platform.rls import RlsDoor
from isobase_services.realtime.session.policies import ChannelPolicies


async def test_policies_are_asked_once_the_transaction_that_the_log_told_of_is_seen(database: Settings) -> None:
    door = RlsDoor(database)
    try:
        policies = ChannelPolicies(door)
        message_id = str(uuid.uuid4())
        with closing(psycopg2.connect(database.dsn(None))) as connection:
            with connection.cursor() as cursor:
                cursor.execute("select realtime.ensure_partitions()")
                connection.commit()
                cursor.execute(
                    "insert into realtime.messages (id, topic, extension) values (%s, 'room:1', 'broadcast')",
                    (message_id,),
                )
            waiting = asyncio.create_task(policies.wait_for(message_id))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            connection.commit()
            await asyncio.wait_for(waiting, 60)
        await asyncio.wait_for(policies.wait_for(message_id), 60)
    finally:
        await door.close()
