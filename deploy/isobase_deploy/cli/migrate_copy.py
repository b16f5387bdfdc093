"""``isobase migrate plan | copy | sync``."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from isobase_adapter.bulk.capture import drop_capture
from isobase_adapter.bulk.connections import connected
from isobase_adapter.bulk.everything import sync_of
from isobase_adapter.bulk.moving import Method, MoveOptions, RowsBy, move, steps_of
from isobase_adapter.bulk.parts import Api, opened_parts
from isobase_adapter.bulk.plan import make_plan
from isobase_adapter.bulk.plan.judging import Verdict
from isobase_adapter.bulk.polling import Polling
from isobase_adapter.bulk.report import Page, page_html, page_text
from isobase_adapter.bulk.sync import Sync
from isobase_adapter.bulk.sync_book import only_one
from isobase_adapter.sides import Side
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.migrate import Places, answer, on_signals, places_of, run, terminal_width, write_report
from isobase_deploy.cli.migrate_progress import MigrateProgress
from isobase_platform.errors import ConfigurationError
from isobase_platform.observe import configure_logging, mask_secrets

__all__ = ["apis_of", "check_report", "copy", "plan", "sync", "write_page"]


def apis_of(places: Places) -> dict[Side, Api]:
    """Both sides' APIs; none where one's URL or key is not set."""
    apis: dict[Side, Api] = {}
    for side in Side:
        url, key = getattr(places, f"{side}_url"), getattr(places, f"{side}_service_role_key")
        if url and key:
            apis[side] = Api(url, key)
    return apis if len(apis) == len(Side) else {}


def check_report(path: Path | None, flag: str = "--report") -> None:
    """Before hours of work, not after them: the file can be written. Raises ``ConfigurationError``."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ConfigurationError(f"{flag} {path} cannot be written")


def write_page(path: Path | None, page: Page, value: dict[str, Any]) -> None:
    """Write a report file: a page where its name ends with .html, else JSON."""
    if path is not None:
        is_page = path.suffix.lower() in (".html", ".htm")
        text = page_html(page) if is_page else json.dumps(value, indent=2, default=str, ensure_ascii=False)
        write_report(path, mask_secrets(text))


def plan(parsed: argparse.Namespace) -> int:
    """Look at both sides; exit code 10 where something does not move by itself."""
    configure_logging("warning", "text")
    check_report(parsed.report)
    places = places_of(parsed)

    async def work() -> int:
        with MigrateProgress() as progress:
            found = await make_plan(places.databases(), progress)
        write_page(parsed.report, found.page(), found.as_json())
        answer(parsed, found.as_json(), lambda: page_text(found.page(), width=terminal_width()))
        return ExitCode.NOT_IN_ORDER if found.verdict is Verdict.NO else ExitCode.OK

    return run(work())


def copy(parsed: argparse.Namespace) -> int:
    """Copy a project; exit code 10 where something is not at the target."""
    configure_logging("warning", "text")
    check_report(parsed.report)
    places = places_of(parsed)
    options = MoveOptions(
        steps=steps_of(parsed.steps),
        tables=tuple(parsed.tables),
        without=tuple(parsed.without),
        parallel=parsed.parallel,
        method=Method(parsed.method),
        rows_by=RowsBy(parsed.rows_by),
        replication_url=os.environ.get("SUPABASE_REPLICATION_URL"),
    )

    async def work() -> int:
        with MigrateProgress() as progress:
            async with opened_parts(places.databases(), apis_of(places)) as parts:
                report = await move(parts, options, progress)
        write_page(parsed.report, report.page(), report.as_json())
        answer(parsed, report.as_json(), lambda: page_text(report.page(), width=terminal_width()))
        return ExitCode.OK if report.is_complete else ExitCode.NOT_IN_ORDER

    return run(work())


def sync(parsed: argparse.Namespace) -> int:
    """Keep both sides equal until Ctrl-C."""
    configure_logging("warning", "text")
    places = places_of(parsed)
    dsns = places.databases()
    return run(_stop_capture(dsns) if parsed.stop_capture else _sync(parsed, places, dsns))


async def _stop_capture(dsns: dict[Side, str]) -> int:
    for side in Side:
        async with connected(dsns[side], "sync") as connection:
            await drop_capture(connection)
    return ExitCode.OK


async def _sync(parsed: argparse.Namespace, places: Places, dsns: dict[Side, str]) -> int:
    with MigrateProgress() as progress:
        async with opened_parts(dsns, apis_of(places)) as parts, connected(dsns[Side.ISOBASE], "sync") as control:
            await only_one(control)
            syncing = sync_of(parts, control, progress)
            on_signals(syncing.stop)
            if parsed.method == "polling":
                progress.say("Looking at both sides again and again; Ctrl-C ends it in order")
                await Polling(syncing, parts.databases).run(is_once=parsed.once)
            else:
                progress.say("Following both sides; Ctrl-C ends it in order")
                await syncing.run(until_caught_up=parsed.once)
    answer(parsed, syncing.state.as_json(), lambda: _text(syncing))
    return ExitCode.OK


def _text(syncing: Sync) -> str:
    lines = [f"Since {syncing.state.started_at}; {syncing.state.swept} comparison(s) of whole tables"]
    for side, state in syncing.state.sides.items():
        lines.append(
            f"{side:<10}{state.changes:>10} changes read{state.carried:>10} carried{state.strays:>8} written past the"
            f" adapter{state.lag_bytes:>12} bytes behind"
        )
    if syncing.state.one_sided:
        lines.append(f"On one side alone: {', '.join(syncing.state.one_sided)}")
    return "\n".join(lines)
