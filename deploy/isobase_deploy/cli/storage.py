"""``isobase storage move | check | rewrite``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.flags import project_of
from isobase_deploy.cli.output import Output
from isobase_deploy.cli.status import NotRunningError, target_settings
from isobase_deploy.cli.storage_lock import connected, only_move
from isobase_deploy.cli.storage_progress import MoveBar
from isobase_deploy.cli.storage_sides import Side, main_side, sides_of
from isobase_deploy.cli.storage_text import check_text, move_text, rewrite_text
from isobase_deploy.database import ProjectDatabase, unreachable
from isobase_deploy.datadir import DataDir
from isobase_deploy.url_rewrite import Prefix, RewrittenColumn, UrlRewriter, parse_column_name, prefixes_of
from isobase_deploy.url_rewrite.columns import Column
from isobase_platform.config import Settings
from isobase_platform.errors import ConfigurationError, IsobaseError, Unavailable
from isobase_platform.observe import configure_logging
from isobase_platform.pool import Pools
from isobase_platform.schema import apply_schema
from isobase_services.storage.blob import BlobStore, BlobUnavailable
from isobase_services.storage.blob.create import create_blob_store
from isobase_services.storage.upkeep.check import Checker
from isobase_services.storage.upkeep.copying import Verify
from isobase_services.storage.upkeep.move import MoveOptions, Mover
from isobase_services.storage.upkeep.move_report import MoveReport
from isobase_services.storage.upkeep.rows import UpkeepRows

__all__ = ["check", "move", "rewrite"]

_Result = TypeVar("_Result")


class StoreUnavailableError(IsobaseError):
    """A store of objects is out of reach, refuses, or has no room left."""

    default_code = "store_unavailable"

    def __init__(self, error: BlobUnavailable) -> None:
        reason = f": {error.__cause__}" if error.__cause__ is not None else ""
        super().__init__(
            f"the store of objects failed: {error.message}{reason}",
            hint="what was done stays done; the same command goes on from there",
        )


def move(parsed: argparse.Namespace) -> int:
    """Copy all objects to another store, verify them, and rewrite URLs where that is asked for."""
    prefixes = _prefixes(parsed)
    _check_report(parsed)
    with _database(parsed) as settings:
        source, target = sides_of(settings, parsed)
        if parsed.delete_source and source.place == main_side(settings).place:
            raise ConfigurationError(
                "--delete-source: the source is the store of storage.backend, which a server reads from",
                hint="let servers write to the target first, see docs/storage-move.md",
            )
        return asyncio.run(_mapped(settings, _Move(parsed, settings, source, target, prefixes).run()))


class _Move:
    """One call of ``isobase storage move``."""

    def __init__(
        self, parsed: argparse.Namespace, settings: Settings, source: Side, target: Side, prefixes: Sequence[Prefix]
    ) -> None:
        self._parsed = parsed
        self._settings = settings
        self._source = source
        self._target = target
        self._prefixes = prefixes
        self._report = MoveReport(
            source=str(source),
            target=str(target),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            verify=parsed.verify,
            is_dry_run=parsed.dry_run,
        )

    async def run(self) -> int:
        parsed, report = self._parsed, self._report
        ignores_missing: bool = parsed.ignore_missing
        try:
            async with contextlib.AsyncExitStack() as opened:
                rewriter, columns = await self._open_rewriter(opened)
                if not parsed.dry_run:
                    await opened.enter_async_context(only_move(self._settings))
                await self._move(opened)
                is_complete = report.is_complete(ignores_missing=ignores_missing)
                if rewriter is not None and (is_complete or parsed.dry_run):
                    rewritten = await _rewrite(rewriter, columns, is_dry_run=parsed.dry_run)
                    report.rewritten = [one.as_json() for one in rewritten]
                    print(rewrite_text(rewritten, is_dry_run=parsed.dry_run))  # noqa: T201  the command's answer
        finally:
            _write_report(parsed.report, report.as_json())
        print(move_text(report, ignores_missing=ignores_missing))  # noqa: T201  the command's answer
        if self._prefixes and not is_complete and not parsed.dry_run:
            print("URLs were not rewritten: that comes once the move is complete.")  # noqa: T201  the command's answer
        return ExitCode.OK if is_complete or parsed.dry_run else ExitCode.NOT_IN_ORDER

    async def _open_rewriter(self, opened: contextlib.AsyncExitStack) -> tuple[UrlRewriter | None, list[Column]]:
        """Before anything is copied: a column that cannot be rewritten is told at once."""
        if not self._prefixes:
            return None, []
        rewriter = await opened.enter_async_context(_rewriter(self._settings, self._prefixes))
        return rewriter, await rewriter.find([parse_column_name(name) for name in self._parsed.columns])

    async def _move(self, opened: contextlib.AsyncExitStack) -> None:
        parsed = self._parsed
        pools = Pools(self._settings)
        opened.push_async_callback(pools.close)
        stores = [await _started(opened, side.store()) for side in (self._source, self._target)]
        options = MoveOptions(
            verify=Verify(parsed.verify),
            parallel=parsed.parallel,
            bucket=parsed.bucket,
            follow_interval_s=parsed.follow,
            is_dry_run=parsed.dry_run,
        )
        with MoveBar() as bar:
            mover = Mover(UpkeepRows(pools), stores[0], stores[1], options, bar, self._report)
            if parsed.follow is not None:
                _on_signals(mover.stop)
            await mover.run()
            is_complete = self._report.is_complete(ignores_missing=parsed.ignore_missing)
            if parsed.delete_source and is_complete and not parsed.dry_run:
                await mover.delete_source()


def check(parsed: argparse.Namespace) -> int:
    """Compare blobs with rows; with --fix remove blobs without a row."""
    _check_report(parsed)
    with _database(parsed) as settings:
        return asyncio.run(_mapped(settings, _check(parsed, settings)))


async def _check(parsed: argparse.Namespace, settings: Settings) -> int:
    grace_s = settings.storage.worker.orphan_grace_s if parsed.grace is None else float(parsed.grace)
    async with contextlib.AsyncExitStack() as opened:
        pools = Pools(settings)
        opened.push_async_callback(pools.close)
        store = await _started(opened, create_blob_store(settings.storage, settings.storage_root))
        with Output() as output:
            counts = {"blobs": 0, "rows": 0}

            def tell(what: str, count: int) -> None:
                counts[what] += count
                output.step(f"Comparing: {counts['blobs']} blobs, {counts['rows']} rows")

            checker = Checker(UpkeepRows(pools), store, grace_s=grace_s)
            report = await checker.run(
                removes=parsed.fix, is_forced=parsed.force, told=tell if sys.stderr.isatty() else None
            )
    _write_report(parsed.report, asdict(report))
    print(json.dumps(asdict(report), indent=2) if parsed.output == "json" else check_text(report))  # noqa: T201
    return ExitCode.OK if report.is_clean else ExitCode.NOT_IN_ORDER


def rewrite(parsed: argparse.Namespace) -> int:
    """Change the beginnings of URLs in tables."""
    prefixes = _prefixes(parsed)
    _check_report(parsed)

    async def run() -> list[RewrittenColumn]:
        async with _rewriter(settings, prefixes) as rewriter:
            columns = await rewriter.find([parse_column_name(name) for name in parsed.columns])
            return await _rewrite(rewriter, columns, is_dry_run=parsed.dry_run)

    with _database(parsed) as settings:
        rewritten = asyncio.run(_mapped(settings, run()))
    _write_report(parsed.report, {"rewritten": [one.as_json() for one in rewritten]})
    print(rewrite_text(rewritten, is_dry_run=parsed.dry_run))  # noqa: T201  the command's answer
    return ExitCode.OK


async def _rewrite(rewriter: UrlRewriter, columns: Sequence[Column], *, is_dry_run: bool) -> list[RewrittenColumn]:
    rewritten: list[RewrittenColumn] = []
    with Output() as output:
        for column in columns:
            output.step(f"Rewriting {column.name}")
            rewritten.append(await (rewriter.count(column) if is_dry_run else rewriter.rewrite(column)))
    return rewritten


@asynccontextmanager
async def _rewriter(settings: Settings, prefixes: Sequence[Prefix]) -> AsyncIterator[UrlRewriter]:
    """Over a connection as the role that migrations run as: what users put on their tables runs with its rights."""
    async with connected(settings, "isobase storage rewrite") as connection:
        yield UrlRewriter(connection, prefixes)


@contextmanager
def _database(parsed: argparse.Namespace) -> Iterator[Settings]:
    """Settings to reach the project's database with; the embedded server is started where no stack runs."""
    project = project_of(parsed)
    configure_logging("warning", project.settings.log_format)
    data_dir = DataDir(project.settings.data_dir)
    if not project.settings.is_embedded or data_dir.is_locked():
        yield target_settings(project)
        return
    if not (data_dir.path / "postgres").is_dir():
        raise NotRunningError(data_dir)
    data_dir.lock()
    try:
        database = ProjectDatabase(project)
        database.start()
        try:
            asyncio.run(apply_schema(database.settings))
            yield database.settings
        finally:
            database.stop()
    finally:
        data_dir.unlock()


async def _started(opened: contextlib.AsyncExitStack, store: BlobStore) -> BlobStore:
    opened.push_async_callback(store.close)
    await store.start()
    return store


async def _mapped(settings: Settings, work: Coroutine[None, None, _Result]) -> _Result:
    """``work``, whose lost database is told with its place, and whose lost store is told apart from it."""
    try:
        return await work
    except BlobUnavailable as error:
        raise StoreUnavailableError(error) from error
    except Unavailable as error:
        raise unreachable(settings, error) from error


def _prefixes(parsed: argparse.Namespace) -> tuple[Prefix, ...]:
    """The pairs of prefixes; none where no column is to be rewritten. Raises ``ConfigurationError``."""
    if not parsed.columns and not parsed.old_prefixes and not parsed.new_prefixes:
        return ()
    if not parsed.columns:
        raise ConfigurationError("--old-prefix and --new-prefix go together with --rewrite SCHEMA.TABLE.COLUMN")
    for name in parsed.columns:
        parse_column_name(name)
    return prefixes_of(parsed.old_prefixes, parsed.new_prefixes)


def _on_signals(stop: Callable[[], None]) -> None:
    """The first Ctrl-C or SIGTERM calls ``stop``; the second ends the command."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(one)
        print("finishing; Ctrl-C once more ends at once", file=sys.stderr)  # noqa: T201  the command's voice
        stop()

    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, first)


def _check_report(parsed: argparse.Namespace) -> None:
    """Before hours of work, not after them: the report can be written. Raises ``ConfigurationError``."""
    path: Path | None = parsed.report
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise ConfigurationError(f"--report {path} cannot be written")


def _write_report(path: Path | None, report: dict[str, object]) -> None:
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + "\n")
