-- Both run with the caller's rights, so row-level security decides what they see.

-- Notes of the caller's projects whose title or body contains the text, newest first.
create function public.search_notes(search_text text, max_rows integer default 20)
returns setof public.notes
language sql stable set search_path = ''
as $$
  select n.*
    from public.notes as n
   where (n.title || ' ' || n.body) ilike '%' || replace(replace(replace(search_text, '\', '\\'), '%', '\%'), '_', '\_') || '%'
   order by n.observed_at desc
   limit least(greatest(max_rows, 0), 100)
$$;

-- Figures of one project as a JSON object; null for a project that the caller does not see.
create function public.project_stats(project uuid) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
           'project_id', p.id,
           'notes', (select count(*) from public.notes as n where n.project_id = p.id),
           'words', (select coalesce(sum(n.word_count), 0) from public.notes as n where n.project_id = p.id),
           'comments', (select count(*) from public.comments as c join public.notes as n on n.id = c.note_id where n.project_id = p.id),
           'members', (select count(*) from public.project_members as m where m.project_id = p.id),
           'last_observed_at', (select max(n.observed_at) from public.notes as n where n.project_id = p.id)
         )
    from public.projects as p
   where p.id = project
$$;

-- Everything is private: visitors without an account call neither.
revoke execute on function public.search_notes(text, integer), public.project_stats(uuid) from public, anon;
grant execute on function public.search_notes(text, integer), public.project_stats(uuid) to authenticated, service_role;

-- Notes with their author's name, for lists. security_invoker: the caller's policies hold for the view too.
create view public.note_overview with (security_invoker = true) as
select n.id, n.project_id, n.title, n.observed_at, n.word_count, p.username as author,
       (select count(*) from public.comments as c where c.note_id = n.id) as comment_count
  from public.notes as n
  join public.profiles as p on p.id = n.author_id;
