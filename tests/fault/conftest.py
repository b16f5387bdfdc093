"""A project and an Isobase process for tests that kill and cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.process import IsobaseProcess

MIGRATION = """
create table public.writes (id bigint primary key, writer int not null, written_at timestamptz not null default now());
alter table public.writes enable row level security;
create policy "anybody" on public.writes for all to anon, authenticated using (true) with check (true);
insert into storage.buckets (id, name, public) values ('files', 'files', false);
create policy "anybody" on storage.objects for all to anon using (bucket_id = 'files') with check (bucket_id = 'files');
"""


@pytest.fixture
def isobase(project_dir: Path) -> Iterator[IsobaseProcess]:
    """A started Isobase of the test's own, with the table ``writes`` and the bucket ``files`` open to anon."""
    migrations = project_dir / "supabase" / "migrations"
    migrations.mkdir(parents=True)
    (project_dir / "supabase" / "config.toml").write_text('project_id = "fault"\n')
    (migrations / "20260101000000_writes.sql").write_text(MIGRATION)
    process = IsobaseProcess(project_dir)
    process.start()
    try:
        yield process
    finally:
        process.stop()
