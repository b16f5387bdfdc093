-- Two people with the password "password123", as seed files of Supabase projects make them. The trigger on auth.users makes the profiles.
insert into auth.users (
  instance_id, id, aud, role, email, encrypted_password, email_confirmed_at,
  raw_app_meta_data, raw_user_meta_data, created_at, updated_at,
  confirmation_token, email_change, email_change_token_new, recovery_token
)
values
  (
    '00000000-0000-0000-0000-000000000000', 'a11ce000-0000-4000-8000-000000000001', 'authenticated', 'authenticated',
    'alice@example.com', extensions.crypt('password123', extensions.gen_salt('bf')), now(),
    '{"provider": "email", "providers": ["email"]}', '{"username": "alice", "full_name": "Alice"}', now(), now(),
    '', '', '', ''
  ),
  (
    '00000000-0000-0000-0000-000000000000', 'b0b00000-0000-4000-8000-000000000002', 'authenticated', 'authenticated',
    'bob@example.com', extensions.crypt('password123', extensions.gen_salt('bf')), now(),
    '{"provider": "email", "providers": ["email"]}', '{"username": "bob", "full_name": "Bob"}', now(), now(),
    '', '', '', ''
  );

insert into auth.identities (id, user_id, provider_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
select gen_random_uuid(), id, id::text,
       jsonb_build_object('sub', id::text, 'email', email, 'email_verified', true, 'phone_verified', false),
       'email', now(), now(), now()
  from auth.users
 where email in ('alice@example.com', 'bob@example.com');

insert into public.projects (id, name, description, created_by)
values
  ('c0ffee00-0000-4000-8000-000000000001', 'Pond survey', 'What lives in the pond, week by week', 'a11ce000-0000-4000-8000-000000000001'),
  ('c0ffee00-0000-4000-8000-000000000002', 'Bird hide', 'Counts from the hide', 'b0b00000-0000-4000-8000-000000000002');

insert into public.notes (id, project_id, author_id, title, body, observed_at, location, weather)
values
  (
    'd00d0000-0000-4000-8000-000000000001', 'c0ffee00-0000-4000-8000-000000000001', 'a11ce000-0000-4000-8000-000000000001',
    'First frogspawn', 'Two clumps of frogspawn at the north edge.', '2026-03-02 07:30:00+00', '(52.2,0.12)',
    '{"sky": "clear", "celsius": 4}'
  ),
  (
    'd00d0000-0000-4000-8000-000000000002', 'c0ffee00-0000-4000-8000-000000000001', 'a11ce000-0000-4000-8000-000000000001',
    'Newts are back', 'Counted three smooth newts by torchlight.', '2026-03-19 20:10:00+00', '(52.2,0.12)',
    '{"sky": "overcast", "celsius": 9}'
  ),
  (
    'd00d0000-0000-4000-8000-000000000003', 'c0ffee00-0000-4000-8000-000000000002', 'b0b00000-0000-4000-8000-000000000002',
    'Lapwings', 'A flock of forty lapwings over the meadow.', '2026-02-11 09:00:00+00', null, '{}'
  );

insert into public.tags (name) values ('amphibians'), ('birds'), ('first-of-year');
insert into public.note_tags (note_id, tag_id)
select n.id, t.id
  from (values
    ('d00d0000-0000-4000-8000-000000000001'::uuid, 'amphibians'), ('d00d0000-0000-4000-8000-000000000001', 'first-of-year'),
    ('d00d0000-0000-4000-8000-000000000002', 'amphibians'), ('d00d0000-0000-4000-8000-000000000003', 'birds')
  ) as pairs (note_id, tag_name)
  join public.notes as n on n.id = pairs.note_id
  join public.tags as t on t.name = pairs.tag_name;

insert into public.comments (note_id, author_id, body)
values ('d00d0000-0000-4000-8000-000000000001', 'a11ce000-0000-4000-8000-000000000001', 'Earlier than last year.');
