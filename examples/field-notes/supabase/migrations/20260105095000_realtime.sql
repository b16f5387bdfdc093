-- Row changes of these tables are sent to subscribers who may read the row.
alter publication supabase_realtime add table public.notes, public.comments;

-- A deleted comment is announced with all its columns, so that a client can tell which note it was on.
alter table public.comments replica identity full;

-- Members of a project may use its private channel, named project:<id>. Of any other topic the project is null, and so is the role.
create function private.project_of_topic(topic text) returns uuid
language sql immutable set search_path = ''
as $$
  select substring(topic from '^project:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$')::uuid
$$;

create policy "Members listen on the channel of their project" on realtime.messages
  for select to authenticated
  using (private.project_role_of_caller(private.project_of_topic(realtime.topic())) is not null);
create policy "Members send on the channel of their project" on realtime.messages
  for insert to authenticated
  with check (private.project_role_of_caller(private.project_of_topic(realtime.topic())) is not null);
