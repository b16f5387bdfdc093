"""A project and an Isobase process for tests that kill, cut and drain."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.process import IsobaseProcess

MIGRATION = """
create table public.writes (id bigint primary key, writer int not null, written_at timestamptz not null default now());
alter table public.writes enable row level security;
create policy "anybody" on public.writes for all to anon, authenticated using (true) with check (true);
create function public.slow_write(id bigint, seconds float) returns bigint language plpgsql as $$
begin
  perform pg_sleep(seconds);
  insert into public.writes values (id, -1);
  return id;
end $$;
insert into storage.buckets (id, name, public) values ('files', 'files', false);
create policy "anybody" on storage.objects for all to anon using (bucket_id = 'files') with check (bucket_id = 'files');
alter publication supabase_realtime add table public.writes;
"""


@pytest.fixture
def isobase() -> Iterator[IsobaseProcess]:
    """A started Isobase of the test's own, with the table ``writes`` and the bucket ``files`` open to anon."""
    # Not pytest's tmp_path: as root PostgreSQL runs as another account, which must be able to enter the directory.
    with tempfile.TemporaryDirectory(prefix="isobase-fault-") as name:
        project = Path(name)
        project.chmod(0o755)
        migrations = project / "supabase" / "migrations"
        migrations.mkdir(parents=True)
        (project / "supabase" / "config.toml").write_text('project_id = "fault"\n')
        (migrations / "20260101000000_writes.sql").write_text(MIGRATION)
        process = IsobaseProcess(project)
        process.start()
        try:
            yield process
        finally:
            process.stop()
