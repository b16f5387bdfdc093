-- Policies of projects ask project_members, and policies of project_members would ask themselves without end. So membership is asked
-- through a function that runs as its owner.
create function private.project_role_of_caller(project uuid) returns public.project_role
language sql stable security definer set search_path = ''
as $$
  select m.role from public.project_members as m where m.project_id = project and m.user_id = (select auth.uid())
$$;

create function private.project_of_note(note uuid) returns uuid
language sql stable security definer set search_path = ''
as $$
  select n.project_id from public.notes as n where n.id = note
$$;

revoke execute on all functions in schema private from public, anon;
grant execute on all functions in schema private to authenticated;

alter table public.projects enable row level security;
alter table public.project_members enable row level security;
alter table public.notes enable row level security;
alter table public.comments enable row level security;
alter table public.tags enable row level security;
alter table public.note_tags enable row level security;

-- The maker sees the project too: `insert ... returning` reads the new row before the membership is there.
create policy "Members see their projects" on public.projects
  for select to authenticated
  using (created_by = (select auth.uid()) or private.project_role_of_caller(id) is not null);
create policy "Signed-in users make projects" on public.projects
  for insert to authenticated with check (created_by = (select auth.uid()));
create policy "Owners change projects" on public.projects
  for update to authenticated using (private.project_role_of_caller(id) = 'owner');
create policy "Owners delete projects" on public.projects
  for delete to authenticated using (private.project_role_of_caller(id) = 'owner');

create policy "Members see the members" on public.project_members
  for select to authenticated using (private.project_role_of_caller(project_id) is not null);
create policy "Owners add members" on public.project_members
  for insert to authenticated with check (private.project_role_of_caller(project_id) = 'owner');
create policy "Owners change members" on public.project_members
  for update to authenticated using (private.project_role_of_caller(project_id) = 'owner');
create policy "Owners remove members, members leave" on public.project_members
  for delete to authenticated
  using (private.project_role_of_caller(project_id) = 'owner' or user_id = (select auth.uid()));

create policy "Members read notes" on public.notes
  for select to authenticated using (private.project_role_of_caller(project_id) is not null);
create policy "Editors write notes as themselves" on public.notes
  for insert to authenticated
  with check (author_id = (select auth.uid()) and private.project_role_of_caller(project_id) >= 'editor');
create policy "Authors change their notes" on public.notes
  for update to authenticated
  using (author_id = (select auth.uid()))
  with check (author_id = (select auth.uid()) and private.project_role_of_caller(project_id) >= 'editor');
create policy "Authors and owners delete notes" on public.notes
  for delete to authenticated
  using (author_id = (select auth.uid()) or private.project_role_of_caller(project_id) = 'owner');

create policy "Members read comments" on public.comments
  for select to authenticated
  using (private.project_role_of_caller(private.project_of_note(note_id)) is not null);
create policy "Members comment as themselves" on public.comments
  for insert to authenticated
  with check (
    author_id = (select auth.uid()) and private.project_role_of_caller(private.project_of_note(note_id)) is not null
  );
create policy "Authors delete their comments" on public.comments
  for delete to authenticated using (author_id = (select auth.uid()));

create policy "Everybody reads tags" on public.tags for select to anon, authenticated using (true);
create policy "Signed-in users make tags" on public.tags for insert to authenticated with check (true);

create policy "Members read the tags of notes" on public.note_tags
  for select to authenticated
  using (private.project_role_of_caller(private.project_of_note(note_id)) is not null);
create policy "Editors tag notes" on public.note_tags
  for insert to authenticated
  with check (private.project_role_of_caller(private.project_of_note(note_id)) >= 'editor');
create policy "Editors untag notes" on public.note_tags
  for delete to authenticated
  using (private.project_role_of_caller(private.project_of_note(note_id)) >= 'editor');
