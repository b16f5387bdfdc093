"""``isobase migrate cutover | rollback``."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from isobase_adapter.bulk.cutover import Change, Cutover, opened_cutover, page_of
from isobase_adapter.bulk.gates import GateLimits
from isobase_adapter.bulk.host import opened_host_cutover, opened_host_parts
from isobase_adapter.bulk.parts import opened_parts
from isobase_adapter.bulk.report import page_text
from isobase_adapter.capabilities import patterns_of
from isobase_adapter.storage.verify import Depth
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.migrate import Places, answer, known_databases, places_of, run, terminal_width
from isobase_deploy.cli.migrate_control import note_new_file
from isobase_deploy.cli.migrate_copy import apis_of, check_report, write_page
from isobase_deploy.cli.migrate_progress import MigrateProgress
from isobase_platform.errors import ConfigurationError
from isobase_platform.observe import configure_logging

__all__ = ["cutover", "rollback"]


def cutover(parsed: argparse.Namespace) -> int:
    """Cut over; exit code 9 where a gate is not met, or the handover was refused."""
    limits = GateLimits(
        calls=parsed.calls,
        hours=float(parsed.hours),
        failed_percent=float(parsed.failed),
        verifies=not parsed.no_verify,
        depth=Depth(parsed.objects),
    )

    async def change(cutting: Cutover, pattern: str) -> Change:
        return await cutting.cut_over(
            pattern, limits, reason=parsed.reason, is_dry_run=parsed.dry_run, forget_clients=parsed.forget_clients
        )

    return _run(parsed, change)


def rollback(parsed: argparse.Namespace) -> int:
    """Roll back; exit code 9 where it was refused."""

    async def change(cutting: Cutover, pattern: str) -> Change:
        return await cutting.roll_back(pattern, reason=parsed.reason, forget_clients=parsed.forget_clients)

    return _run(parsed, change)


def _run(parsed: argparse.Namespace, change: Callable[[Cutover, str], Awaitable[Change]]) -> int:
    configure_logging("warning", "text")
    check_report(parsed.report)
    for text in parsed.capabilities:
        _check(text)
    places = places_of(parsed)

    async def work() -> int:
        changes: list[Change] = []
        with MigrateProgress() as progress:
            async with _opened(parsed, places, progress) as cutting:
                patterns = [pattern for text in parsed.capabilities for pattern in await cutting.meant(text)]
                for pattern in dict.fromkeys(patterns):
                    changes.append(await change(cutting, pattern))
                    if changes[-1].reason:
                        # What comes after it may rest on it: an operator looks first.
                        break
        value = {"changes": [one.as_json() for one in changes], "is_done": all(one.is_done for one in changes)}
        write_page(parsed.report, page_of(changes), value)
        answer(parsed, value, lambda: page_text(page_of(changes), width=terminal_width()))
        return ExitCode.REFUSED if any(one.reason for one in changes) else ExitCode.OK

    return run(work())


@asynccontextmanager
async def _opened(parsed: argparse.Namespace, places: Places, progress: MigrateProgress) -> AsyncIterator[Cutover]:
    if parsed.control_file is not None:
        note_new_file(parsed.control_file)
        async with (
            opened_host_parts(parsed.control_file, known_databases(places), apis_of(places)) as host,
            opened_host_cutover(
                host, by=parsed.by, progress=progress, are_sequences_moved=parsed.sequences_moved
            ) as cutting,
        ):
            yield cutting
        return
    async with (
        opened_parts(places.databases(), apis_of(places)) as parts,
        opened_cutover(parts, by=parsed.by, progress=progress) as cutting,
    ):
        yield cutting


def _check(text: str) -> None:
    try:
        patterns_of(text)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
