-- What `make bench-storage` measures on, in a database that has storage's tables: a private and a public bucket, and one with
-- 100,000 objects, half of them in one folder and half in 500 folders. A user owns what he stores.
insert into storage.buckets (id, name, public) values
  ('private', 'private', false), ('public', 'public', true), ('lists', 'lists', false);

create policy "read own" on storage.objects for select to authenticated using (owner_id = (select auth.uid())::text);
create policy "insert own" on storage.objects for insert to authenticated with check (owner_id = (select auth.uid())::text);
create policy "update own" on storage.objects for update to authenticated using (owner_id = (select auth.uid())::text);
create policy "delete own" on storage.objects for delete to authenticated using (owner_id = (select auth.uid())::text);

insert into storage.objects (bucket_id, name, owner_id, version, metadata, user_metadata, created_at, updated_at,
                             last_accessed_at)
select 'lists',
       case when n < 50000 then 'flat/' || to_char(n, 'FM000000') || '.jpg'
            else 'tree/' || to_char((n - 50000) / 100, 'FM000') || '/' || to_char(n, 'FM000000') || '.jpg' end,
       '00000000-0000-4000-8000-000000000007',
       gen_random_uuid()::text,
       jsonb_build_object('eTag', '"' || md5(n::text) || '"', 'size', 10240, 'mimetype', 'image/jpeg', 'cacheControl',
                          'max-age=3600', 'lastModified', '2026-01-01T00:00:00.000Z', 'contentLength', 10240,
                          'httpStatusCode', 200),
       '{}', moment, moment, moment
  from generate_series(0, 99999) as n, lateral (select timestamptz '2026-01-01' + n * interval '1 second') as t (moment);
