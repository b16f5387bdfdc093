"""``isobase migrate verify``."""

from __future__ import annotations

import argparse

from isobase_adapter.bulk.parts import opened_parts
from isobase_adapter.bulk.report import page_text
from isobase_adapter.contracts import WriterMoved
from isobase_adapter.rows.quoting import split_resource
from isobase_adapter.storage.verify import Depth
from isobase_adapter.verify.everything import PARTS, EverythingOptions, verify_everything
from isobase_adapter.verify.tables import VerifyOptions
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.migrate import answer, places_of, run, terminal_width
from isobase_deploy.cli.migrate_copy import apis_of, check_report, write_page
from isobase_deploy.cli.migrate_progress import MigrateProgress
from isobase_platform.errors import BadRequest
from isobase_platform.observe import configure_logging

__all__ = ["verify"]


def verify(parsed: argparse.Namespace) -> int:
    """Compare both sides; exit code 10 where something differs."""
    configure_logging("warning", "text")
    check_report(parsed.report)
    check_report(parsed.resume, "--resume")
    places = places_of(parsed)
    options = EverythingOptions(
        parts=tuple(parsed.parts) or (("rows",) if parsed.tables else PARTS),
        tables=tuple(_resource(name) for name in parsed.tables),
        depth=Depth(parsed.objects),
        rows=VerifyOptions(max_named=parsed.named, parallel=parsed.parallel, repair=parsed.repair),
        resume=parsed.resume,
        again=parsed.again,
    )

    async def work() -> int:
        try:
            with MigrateProgress() as progress:
                async with opened_parts(places.databases(), apis_of(places)) as parts:
                    found = await verify_everything(parts, options, progress)
        except WriterMoved as error:
            raise BadRequest(f"another side became the writer meanwhile: {error}", hint="call it again") from error
        write_page(parsed.report, found.page(), found.as_json())
        answer(parsed, found.as_json(), lambda: page_text(found.page(), width=terminal_width()))
        return ExitCode.OK if found.is_equal else ExitCode.NOT_IN_ORDER

    return run(work())


def _resource(name: str) -> str:
    name = name if "." in name else f"public.{name}"
    try:
        split_resource(name)
    except ValueError as error:
        raise BadRequest(f"--table {name!r}: it is written schema.table") from error
    return name
