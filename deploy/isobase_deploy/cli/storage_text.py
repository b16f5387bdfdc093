"""Reports of ``isobase storage`` as text for people. The same in JSON is the reports' own form."""

from __future__ import annotations

from collections.abc import Sequence

from isobase_deploy.url_rewrite import RewrittenColumn
from isobase_services.storage.upkeep.check import CheckReport
from isobase_services.storage.upkeep.move_report import MoveReport

__all__ = ["check_text", "move_text", "rewrite_text", "size_text"]

MAX_SHOWN = 20
"""How many objects a text names; the JSON report names more."""
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size_bytes: int) -> str:
    """A size for people, such as ``1.5 MiB``."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size_bytes} bytes" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def move_text(report: MoveReport, *, ignores_missing: bool) -> str:
    """The verification report of a move."""
    lines = [f"From {report.source} to {report.target}, {report.passes} pass(es)", ""]
    lines.append(f"{'BUCKET':<32}{'OBJECTS':>10}{'SIZE':>13}{'COPIED':>10}{'THERE':>10}{'CHANGED':>9}{'PROBLEMS':>10}")
    for name, one in sorted(report.buckets.items()):
        problems = one.missing + one.mismatch + one.source_differs_from_row + one.failed
        numbers = f"{one.copied:>10}{one.already_there:>10}{one.changed:>9}{problems:>10}"
        lines.append(f"{name:<32}{one.objects:>10}{size_text(one.bytes):>13}{numbers}")
    numbers = f"{report.copied:>10}{report.already_there:>10}{report.changed:>9}{report.problem_count:>10}"
    lines += [f"{'all':<32}{report.objects:>10}{size_text(report.bytes):>13}{numbers}", ""]
    lines.append(
        f"Compared by checksum: {report.by_checksum} (read back: {report.read_back}); by size alone: {report.by_size}"
    )
    for problem in report.problems[:MAX_SHOWN]:
        lines.append(f"{problem.kind.value}: {problem.bucket}/{problem.key} ({problem.version}): {problem.reason}")
    if report.problem_count > MAX_SHOWN:
        lines.append(f"... and {report.problem_count - MAX_SHOWN} more; --report FILE lists them")
    if report.unfinished_uploads:
        lines.append(
            f"{report.unfinished_uploads} unfinished upload(s) of the source are not moved; their clients begin again"
        )
    if report.source_removed:
        lines.append(f"{report.source_removed} object(s) were removed from the source")
    lines.append(_verdict(report, ignores_missing=ignores_missing))
    return "\n".join(lines)


def _verdict(report: MoveReport, *, ignores_missing: bool) -> str:
    if report.is_dry_run:
        return f"Dry run: {report.to_copy} object(s), {size_text(report.to_copy_bytes)}, would be copied."
    if report.is_complete(ignores_missing=ignores_missing):
        return "Complete: every object is at the target."
    if report.problem_count > (report.missing if ignores_missing else 0):
        return "Not complete: see the problems above."
    return (
        "Not complete: objects were written to the source until the end. Let new ones go to the target"
        " (storage.backend, with the source as storage.fallback) and call this again."
    )


def check_text(report: CheckReport) -> str:
    """The report of a check."""
    lines = [
        f"Blobs: {report.blobs} ({size_text(report.blob_bytes)}), rows: {report.rows}",
        f"Blobs without a row, older than {report.grace_s:.0f} s: {report.orphan_blobs} ({size_text(report.orphan_bytes)})",
    ]
    lines += [f"  {one['blob']}  {one['size_bytes']} bytes, {one['stored_at']}" for one in report.orphans[:MAX_SHOWN]]
    if report.orphan_blobs > MAX_SHOWN:
        lines.append(f"  ... and {report.orphan_blobs - MAX_SHOWN} more")
    if report.young_blobs:
        lines.append(f"Younger blobs without a row, left alone: {report.young_blobs}")
    if report.foreign_blobs:
        lines.append(f"Files that are not this server's, left alone: {report.foreign_blobs}")
    lines.append(f"Rows without a blob: {report.rows_without_blob}")
    lines += [f"  {one['bucket']}/{one['key']}  {one['version'] or 'no version'}" for one in report.missing[:MAX_SHOWN]]
    if report.rows_without_blob > MAX_SHOWN:
        lines.append(f"  ... and {report.rows_without_blob - MAX_SHOWN} more")
    if report.unfinished_uploads:
        lines.append(f"Unfinished uploads in parts: {report.unfinished_uploads}")
    if report.removed_blobs:
        lines.append(f"Removed: {report.removed_blobs} ({size_text(report.removed_bytes)})")
    if report.is_refused:
        lines.append(
            "Nothing was removed: so many blobs without a row look like the wrong database or the wrong store."
            " --force removes them all the same."
        )
    return "\n".join(lines)


def rewrite_text(columns: Sequence[RewrittenColumn], *, is_dry_run: bool) -> str:
    """What a rewrite changed."""
    lines = [f"{'COLUMN':<48}{'MATCHING':>10}{'CHANGED':>10}{'LEFT':>8}"]
    lines += [f"{one.column:<48}{one.matching:>10}{one.changed:>10}{one.left:>8}" for one in columns]
    if any(one.left for one in columns):
        lines.append("Left are values over 1 MiB and arrays of several dimensions: change them with SQL.")
    if is_dry_run:
        lines.append("Dry run: nothing was changed.")
    return "\n".join(lines)
