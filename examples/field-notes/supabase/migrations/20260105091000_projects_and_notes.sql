create type public.project_role as enum ('viewer', 'editor', 'owner');

create table public.projects (
  id uuid primary key default extensions.uuid_generate_v4(),
  name text not null check (char_length(name) between 1 and 120),
  description text,
  created_by uuid not null default auth.uid() references public.profiles (id) on delete cascade,
  is_archived boolean not null default false,
  created_at timestamptz not null default now()
);

create table public.project_members (
  project_id uuid not null references public.projects (id) on delete cascade,
  user_id uuid not null references public.profiles (id) on delete cascade,
  role public.project_role not null default 'viewer',
  added_at timestamptz not null default now(),
  primary key (project_id, user_id)
);
create index project_members_user_id_idx on public.project_members (user_id);

create table public.notes (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  author_id uuid not null default auth.uid() references public.profiles (id) on delete cascade,
  title text not null check (char_length(title) between 1 and 200),
  body text not null default '',
  observed_at timestamptz not null default now(),
  location point,
  weather jsonb not null default '{}',
  photo_path text,
  word_count integer generated always as (
    coalesce(cardinality(regexp_split_to_array(nullif(trim(body), ''), '\s+')), 0)
  ) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index notes_project_id_observed_at_idx on public.notes (project_id, observed_at desc);
create index notes_author_id_idx on public.notes (author_id);
create index notes_text_idx on public.notes using gin ((title || ' ' || body) extensions.gin_trgm_ops);

create table public.comments (
  id bigint generated always as identity primary key,
  note_id uuid not null references public.notes (id) on delete cascade,
  author_id uuid not null default auth.uid() references public.profiles (id) on delete cascade,
  body text not null check (char_length(body) between 1 and 2000),
  created_at timestamptz not null default now()
);
create index comments_note_id_idx on public.comments (note_id, created_at);
create index comments_author_id_idx on public.comments (author_id);

create table public.tags (
  id bigint generated always as identity primary key,
  name text unique not null check (name ~ '^[a-z0-9-]{1,40}$')
);

create table public.note_tags (
  note_id uuid not null references public.notes (id) on delete cascade,
  tag_id bigint not null references public.tags (id) on delete cascade,
  primary key (note_id, tag_id)
);
create index note_tags_tag_id_idx on public.note_tags (tag_id);

create trigger notes_updated_at before update on public.notes
  for each row execute function private.touch_updated_at();

-- Who makes a project owns it.
create function public.handle_new_project() returns trigger
language plpgsql security definer set search_path = ''
as $$
begin
  insert into public.project_members (project_id, user_id, role) values (new.id, new.created_by, 'owner');
  return new;
end;
$$;
revoke execute on function public.handle_new_project() from public, anon, authenticated;

create trigger on_project_created after insert on public.projects
  for each row execute procedure public.handle_new_project();
