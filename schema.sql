-- Isobase: the one source of roles, schemas, tables, policies and SQL helper functions.
--
-- Applied by isobase_platform.schema under an advisory lock, in one transaction, by the owner: the superuser supabase_admin of
-- the embedded server, or whatever role an external PostgreSQL >= 15 gives us (which may lack superuser, as on RDS). The file is
-- idempotent: applied again it changes nothing. Later changes are numbered files in schema/.
--
-- Names, columns, constraints and grants are those that Supabase users build on: supabase/postgres (init scripts), supabase/auth,
-- supabase/storage and supabase/realtime (the state after all their migrations). Passwords are not set here.
--
-- Order: 1 roles, 2 schemas and extensions, 3 auth, 4 storage, 5 realtime, 6 isobase, 7 schema cache notices, 8 defaults.

-- Every name below is qualified, so nothing in the database can put itself before it.
set search_path to '';
set client_min_messages to warning;
-- Function bodies are checked by the tests; checking them here again would double the time of a first start.
set check_function_bodies to off;

----------------------------------------------------------------------------------------------------------------------
-- 1. Roles
----------------------------------------------------------------------------------------------------------------------

do $roles$
declare
  is_superuser constant boolean := (select rolsuper from pg_catalog.pg_roles where rolname = current_user);
  wanted record;
  attribute text;
begin
  -- supabase_admin and postgres are the server's own on the embedded server and on Supabase. Elsewhere they are made when
  -- missing, so that grants and default privileges in users' migrations find them; supabase_admin then may not log in.
  for wanted in
    select *
      from (values
        ('anon', 'nologin inherit', '{}'::text[]),
        ('authenticated', 'nologin inherit', '{}'),
        ('service_role', 'nologin inherit', '{bypassrls}'),
        ('authenticator', 'login noinherit', '{}'),
        ('supabase_admin', 'nologin inherit', '{}'),
        ('supabase_auth_admin', 'login noinherit', '{}'),
        ('supabase_storage_admin', 'login noinherit', '{}'),
        ('supabase_realtime_admin', 'nologin noinherit', '{}'),
        ('dashboard_user', 'nologin inherit', '{createdb,createrole,replication}'),
        ('postgres', 'login inherit', '{createdb,createrole,bypassrls,replication}')
      ) as v (role, options, attributes)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted.role) then
      execute pg_catalog.format('create role %I with %s', wanted.role, wanted.options);
    end if;
    -- Only a superuser, or a role that has the attribute itself, may give these. What cannot be given is said once: the
    -- tables of this file then get policies instead (isobase.open_tables_to_service_role below).
    foreach attribute in array wanted.attributes loop
      continue when (
        select case attribute when 'bypassrls' then rolbypassrls when 'replication' then rolreplication
                              when 'createdb' then rolcreatedb else rolcreaterole end or rolsuper
          from pg_catalog.pg_roles where rolname = wanted.role);
      begin
        execute pg_catalog.format('alter role %I with %s', wanted.role, attribute);
      exception when insufficient_privilege then
        if wanted.role <> 'dashboard_user' then
          raise warning 'role % does not get the attribute %: % may not give it', wanted.role, attribute, current_user;
        end if;
      end;
    end loop;
  end loop;

  -- Who is not a superuser must be a member of a role to create objects in its name. PostgreSQL >= 16 gives the creator of a
  -- role only the right to grant it.
  if not is_superuser then
    for wanted in
      select rolname as role from pg_catalog.pg_roles
       where rolname in ('supabase_admin', 'supabase_auth_admin', 'supabase_storage_admin', 'supabase_realtime_admin',
                         'authenticator', 'anon', 'authenticated', 'service_role', 'postgres')
         and rolname <> current_user and not rolsuper
    loop
      execute pg_catalog.format('grant %I to current_user', wanted.role);
    end loop;
  end if;
end
$roles$;

grant anon, authenticated, service_role to authenticator;

-- What `postgres`, the role of migrations and seeds, may do to the platform's own tables. On Supabase the C module supautils lets it
-- create policies on storage.objects, realtime.messages ... though it owns none of them; PostgreSQL alone gives that right to
-- members of the owning role only. So postgres is a member of the owners of `storage` and `realtime`, whose tables carry users'
-- policies, and not of supabase_auth_admin: for what projects do with `auth` (triggers on auth.users, foreign keys, seeds) the
-- table privileges of section 3 are enough, and no migration can drop or alter the tables that sign-in stands on.
do $memberships$
begin
  if current_user <> 'postgres' then
    -- With the admin option, because Supabase's guides let a project do `grant custom_role to authenticator`, `grant anon to
    -- custom_role` and `alter role anon set statement_timeout`, which PostgreSQL >= 16 ties to it.
    grant anon, authenticated, service_role, authenticator to postgres with admin option;
    grant supabase_storage_admin, supabase_realtime_admin to postgres;
  end if;
exception when invalid_grant_operation then
  -- postgres is the owner and the roles were granted to it by somebody else already.
  null;
end
$memberships$;

do $monitor$
begin
  grant pg_monitor, pg_signal_backend to postgres;
exception when insufficient_privilege then
  null; -- a convenience of Supabase's dashboard; nothing here needs it
end
$monitor$;

-- Seeds that were dumped with --data-only begin with `set session_replication_role = replica`, which loads rows in any order. On
-- Supabase supautils lets postgres set these, and the data API's own: `alter role authenticator set pgrst.db_max_rows = '500'`.
do $parameters$
declare
  name text;
begin
  if current_user <> 'postgres' then
    grant set on parameter session_replication_role, log_min_messages, log_lock_waits, track_io_timing to postgres;
    grant set on parameter session_replication_role to supabase_storage_admin; -- for storage.write_carried_object alone
    foreach name in array array[
      'db_aggregates_enabled', 'db_anon_role', 'db_extra_search_path', 'db_hoisted_tx_settings', 'db_max_rows',
      'db_plan_enabled', 'db_pre_config', 'db_pre_request', 'db_prepared_statements', 'db_root_spec', 'db_schemas',
      'db_tx_end', 'jwt_aud', 'jwt_cache_max_lifetime', 'jwt_role_claim_key', 'jwt_secret', 'jwt_secret_is_base64',
      'openapi_mode', 'openapi_security_active', 'openapi_server_proxy_uri', 'server_cors_allowed_origins',
      'server_timing_enabled', 'server_trace_header'
    ] loop
      execute pg_catalog.format('grant set on parameter pgrst.%I to postgres', name);
    end loop;
  end if;
exception when insufficient_privilege then
  null; -- a managed server's owner may set them or not; a seed that needs them says so itself
end
$parameters$;

-- Limits of the API roles: a runaway query of an anonymous visitor ends after 3 s. The service that becomes these roles applies
-- their settings itself, because PostgreSQL applies a role's settings at login only.
alter role anon set statement_timeout to '3s';
alter role authenticated set statement_timeout to '8s';
alter role authenticator set statement_timeout to '8s';
alter role authenticator set lock_timeout to '8s';
do $logs$
begin
  -- The statements of API requests carry the callers' tokens and claims. A failing one is logged by its error, not by its text.
  alter role authenticator set log_min_error_statement to 'panic';
exception when insufficient_privilege then
  null; -- a managed server's owner may set it or not
end
$logs$;
alter role supabase_auth_admin set idle_in_transaction_session_timeout to '60s';
alter role supabase_auth_admin set search_path to 'auth';
alter role supabase_storage_admin set search_path to 'storage';
do $paths$
begin
  if current_user <> 'postgres' then
    begin
      alter role postgres set search_path to "$user", public, extensions;
    exception when insufficient_privilege then
      -- Another owner's superuser, on servers where this file is applied by a lesser role: nothing here logs in as it.
      null;
    end;
  end if;
  if current_user in ('supabase_admin', 'postgres') then
    alter role supabase_admin set search_path to "$user", public, auth, extensions;
  end if;
end
$paths$;

----------------------------------------------------------------------------------------------------------------------
-- 2. Schemas and extensions
----------------------------------------------------------------------------------------------------------------------

create schema if not exists auth;
create schema if not exists storage;
create schema if not exists realtime;
create schema if not exists extensions;
create schema if not exists graphql_public;
create schema if not exists isobase;

grant usage on schema public, extensions, graphql_public, auth, storage, realtime to anon, authenticated, service_role;
grant all on schema public, extensions, graphql_public, auth, storage to postgres;
grant usage on schema realtime to postgres;
grant all on schema auth, storage, extensions to dashboard_user;
grant all on schema auth to supabase_auth_admin;
grant all on schema storage to supabase_storage_admin;
grant all on schema realtime to supabase_realtime_admin;

-- On Supabase postgres owns the database: it may create schemas, publications and trusted extensions, and with pg_database_owner
-- it owns schema public. An owner without superuser gives what it can.
do $database$
begin
  if (select pg_catalog.pg_get_userbyid(datdba) from pg_catalog.pg_database
       where datname = pg_catalog.current_database()) <> 'postgres'
     and (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
    execute pg_catalog.format('alter database %I owner to postgres', pg_catalog.current_database());
  else
    execute pg_catalog.format('grant create, connect, temporary on database %I to postgres', pg_catalog.current_database());
  end if;
exception when insufficient_privilege then
  raise warning 'role postgres may not create schemas in this database: % cannot grant it', current_user;
end
$database$;

-- Supabase projects find both in schema extensions from birth, owned by postgres. The embedded server has SQL stand-ins for them
-- (docs/decisions/0005-pgcrypto-stand-in.md); what those lack is told when a migration names them (isobase.extension_gaps), not here.
do $extensions$
declare
  wanted text;
begin
  set local client_min_messages to error;
  foreach wanted in array array['pgcrypto', 'uuid-ossp'] loop
    continue when exists (select from pg_catalog.pg_extension where extname = wanted);
    begin
      set local role postgres;
      execute pg_catalog.format('create extension %I with schema extensions', wanted);
    exception when insufficient_privilege or feature_not_supported or undefined_file then
      -- Where postgres may not, the owner may; where neither may, or the server lacks the files, say so.
      begin
        execute pg_catalog.format('create extension %I with schema extensions', wanted);
      exception when insufficient_privilege or feature_not_supported or undefined_file then
        set local client_min_messages to warning;
        raise warning 'extension % could not be created: %', wanted, sqlerrm;
        set local client_min_messages to error;
      end;
    end;
    reset role;
  end loop;
  set local client_min_messages to warning;
end
$extensions$;

----------------------------------------------------------------------------------------------------------------------
-- 3. auth (source: supabase/auth, migrations; contract: owner supabase_auth_admin, row security on with no policy)
----------------------------------------------------------------------------------------------------------------------

set role supabase_auth_admin;

do $types$
declare
  wanted record;
begin
  for wanted in
    select *
      from (values
        ('aal_level', '{aal1,aal2,aal3}'::text[]),
        ('code_challenge_method', '{s256,plain}'),
        ('factor_status', '{unverified,verified}'),
        ('factor_type', '{totp,webauthn,phone}'),
        ('oauth_authorization_status', '{pending,approved,denied,expired}'),
        ('oauth_client_type', '{public,confidential}'),
        ('oauth_registration_type', '{dynamic,manual}'),
        ('oauth_response_type', '{code}'),
        ('one_time_token_type', '{confirmation_token,reauthentication_token,recovery_token,email_change_token_new,'
                                'email_change_token_current,phone_change_token}')
      ) as v (name, labels)
     where pg_catalog.to_regtype('auth.' || v.name) is null
  loop
    execute pg_catalog.format(
      'create type auth.%I as enum (%s)', wanted.name,
      (select pg_catalog.string_agg(pg_catalog.quote_literal(label), ', ' order by place)
         from pg_catalog.unnest(wanted.labels) with ordinality as l (label, place)));
  end loop;
end
$types$;

-- The caller, as policies see it. The per-claim settings are the older form; an empty string means absent in both. No search_path is
-- set on these functions, because that would keep the planner from inlining them into policies.
create or replace function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;
comment on function auth.jwt() is 'All claims of the caller''s token; null without one.';

create or replace function auth.uid() returns uuid language sql stable as $$
  select nullif(coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
  ), '')::uuid
$$;
comment on function auth.uid() is 'Id of the signed-in user (claim sub); null for anon.';

create or replace function auth.role() returns text language sql stable as $$
  select nullif(coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
  ), '')
$$;
comment on function auth.role() is 'Claim role. Prefer the TO clause of a policy.';

create or replace function auth.email() returns text language sql stable as $$
  select nullif(coalesce(
    nullif(current_setting('request.jwt.claim.email', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
  ), '')
$$;
comment on function auth.email() is 'Claim email. Prefer auth.jwt() ->> ''email''.';

create table if not exists auth.schema_migrations (
  version varchar(255) not null,
  constraint schema_migrations_pkey primary key (version)
);
create table if not exists auth.instances (
  id uuid not null,
  uuid uuid,
  raw_base_config text,
  created_at timestamptz,
  updated_at timestamptz,
  constraint instances_pkey primary key (id)
);

create table if not exists auth.users (
  instance_id uuid,
  id uuid not null,
  aud varchar(255),
  role varchar(255),
  email varchar(255),
  encrypted_password varchar(255),
  email_confirmed_at timestamptz,
  invited_at timestamptz,
  confirmation_token varchar(255),
  confirmation_sent_at timestamptz,
  recovery_token varchar(255),
  recovery_sent_at timestamptz,
  email_change_token_new varchar(255),
  email_change varchar(255),
  email_change_sent_at timestamptz,
  last_sign_in_at timestamptz,
  raw_app_meta_data jsonb,
  raw_user_meta_data jsonb,
  is_super_admin boolean,
  created_at timestamptz,
  updated_at timestamptz,
  phone text default null,
  phone_confirmed_at timestamptz,
  phone_change text default '',
  phone_change_token varchar(255) default '',
  phone_change_sent_at timestamptz,
  confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
  email_change_token_current varchar(255) default '',
  email_change_confirm_status smallint default 0,
  banned_until timestamptz,
  reauthentication_token varchar(255) default '',
  reauthentication_sent_at timestamptz,
  is_sso_user boolean not null default false,
  deleted_at timestamptz,
  is_anonymous boolean not null default false,
  constraint users_pkey primary key (id),
  constraint users_phone_key unique (phone),
  constraint users_email_change_confirm_status_check check (email_change_confirm_status between 0 and 2)
);
comment on column auth.users.is_sso_user is 'One e-mail address may belong to one password user and to any number of SSO users.';
create unique index if not exists users_email_partial_key on auth.users (email) where is_sso_user = false;
create index if not exists users_instance_id_email_idx on auth.users (instance_id, lower(email));
create index if not exists users_instance_id_idx on auth.users (instance_id);
create index if not exists users_is_anonymous_idx on auth.users (is_anonymous);
-- Typed codes (digits only) and blanks repeat; what is hashed must not.
create unique index if not exists confirmation_token_idx on auth.users (confirmation_token)
  where confirmation_token !~ '^[0-9 ]*$';
create unique index if not exists recovery_token_idx on auth.users (recovery_token) where recovery_token !~ '^[0-9 ]*$';
create unique index if not exists email_change_token_current_idx on auth.users (email_change_token_current)
  where email_change_token_current !~ '^[0-9 ]*$';
create unique index if not exists email_change_token_new_idx on auth.users (email_change_token_new)
  where email_change_token_new !~ '^[0-9 ]*$';
create unique index if not exists reauthentication_token_idx on auth.users (reauthentication_token)
  where reauthentication_token !~ '^[0-9 ]*$';

create table if not exists auth.identities (
  provider_id text not null,
  user_id uuid not null,
  identity_data jsonb not null,
  provider text not null,
  last_sign_in_at timestamptz,
  created_at timestamptz,
  updated_at timestamptz,
  email text generated always as (lower(identity_data ->> 'email')) stored,
  id uuid not null default gen_random_uuid(),
  constraint identities_pkey primary key (id),
  constraint identities_provider_id_provider_unique unique (provider_id, provider),
  constraint identities_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create index if not exists identities_email_idx on auth.identities (email text_pattern_ops);
create index if not exists identities_user_id_idx on auth.identities (user_id);

create table if not exists auth.oauth_clients (
  id uuid not null,
  client_secret_hash text,
  registration_type auth.oauth_registration_type not null,
  redirect_uris text not null,
  grant_types text not null,
  client_name text,
  client_uri text,
  logo_uri text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  client_type auth.oauth_client_type not null default 'confidential',
  token_endpoint_auth_method text not null,
  constraint oauth_clients_pkey primary key (id),
  constraint oauth_clients_client_name_length check (char_length(client_name) <= 1024),
  constraint oauth_clients_client_uri_length check (char_length(client_uri) <= 2048),
  constraint oauth_clients_logo_uri_length check (char_length(logo_uri) <= 2048),
  constraint oauth_clients_token_endpoint_auth_method_check
    check (token_endpoint_auth_method in ('client_secret_basic', 'client_secret_post', 'none'))
);
create index if not exists oauth_clients_deleted_at_idx on auth.oauth_clients (deleted_at);

create table if not exists auth.sessions (
  id uuid not null,
  user_id uuid not null,
  created_at timestamptz,
  updated_at timestamptz,
  factor_id uuid,
  aal auth.aal_level,
  not_after timestamptz,
  refreshed_at timestamp,
  user_agent text,
  ip inet,
  tag text,
  oauth_client_id uuid,
  refresh_token_hmac_key text,
  refresh_token_counter bigint,
  scopes text,
  constraint sessions_pkey primary key (id),
  constraint sessions_scopes_length check (char_length(scopes) <= 4096),
  constraint sessions_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint sessions_oauth_client_id_fkey foreign key (oauth_client_id) references auth.oauth_clients (id) on delete cascade
);
create index if not exists sessions_user_id_idx on auth.sessions (user_id);
create index if not exists user_id_created_at_idx on auth.sessions (user_id, created_at);
create index if not exists sessions_not_after_idx on auth.sessions (not_after desc);
create index if not exists sessions_oauth_client_id_idx on auth.sessions (oauth_client_id);

create table if not exists auth.refresh_tokens (
  instance_id uuid,
  id bigserial not null,
  token varchar(255),
  user_id varchar(255),
  revoked boolean,
  created_at timestamptz,
  updated_at timestamptz,
  parent varchar(255),
  session_id uuid,
  constraint refresh_tokens_pkey primary key (id),
  constraint refresh_tokens_token_unique unique (token),
  constraint refresh_tokens_session_id_fkey foreign key (session_id) references auth.sessions (id) on delete cascade
);
create index if not exists refresh_tokens_instance_id_idx on auth.refresh_tokens (instance_id);
create index if not exists refresh_tokens_instance_id_user_id_idx on auth.refresh_tokens (instance_id, user_id);
create index if not exists refresh_tokens_parent_idx on auth.refresh_tokens (parent);
create index if not exists refresh_tokens_session_id_revoked_idx on auth.refresh_tokens (session_id, revoked);
create index if not exists refresh_tokens_updated_at_idx on auth.refresh_tokens (updated_at desc);

create table if not exists auth.mfa_factors (
  id uuid not null,
  user_id uuid not null,
  friendly_name text,
  factor_type auth.factor_type not null,
  status auth.factor_status not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  secret text,
  phone text,
  last_challenged_at timestamptz,
  web_authn_credential jsonb,
  web_authn_aaguid uuid,
  last_webauthn_challenge_data jsonb,
  constraint mfa_factors_pkey primary key (id),
  constraint mfa_factors_last_challenged_at_key unique (last_challenged_at),
  constraint mfa_factors_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create index if not exists mfa_factors_user_id_idx on auth.mfa_factors (user_id);
create index if not exists factor_id_created_at_idx on auth.mfa_factors (user_id, created_at);
create unique index if not exists mfa_factors_user_friendly_name_unique on auth.mfa_factors (friendly_name, user_id)
  where trim(friendly_name) <> '';
create unique index if not exists unique_phone_factor_per_user on auth.mfa_factors (user_id, phone);

create table if not exists auth.mfa_challenges (
  id uuid not null,
  factor_id uuid not null,
  created_at timestamptz not null,
  verified_at timestamptz,
  ip_address inet not null,
  otp_code text,
  web_authn_session_data jsonb,
  constraint mfa_challenges_pkey primary key (id),
  constraint mfa_challenges_auth_factor_id_fkey foreign key (factor_id) references auth.mfa_factors (id) on delete cascade
);
create index if not exists mfa_challenge_created_at_idx on auth.mfa_challenges (created_at desc);

create table if not exists auth.mfa_amr_claims (
  session_id uuid not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  authentication_method text not null,
  id uuid not null,
  constraint amr_id_pk primary key (id),
  constraint mfa_amr_claims_session_id_authentication_method_pkey unique (session_id, authentication_method),
  constraint mfa_amr_claims_session_id_fkey foreign key (session_id) references auth.sessions (id) on delete cascade
);

create table if not exists auth.one_time_tokens (
  id uuid not null,
  user_id uuid not null,
  token_type auth.one_time_token_type not null,
  token_hash text not null,
  relates_to text not null,
  created_at timestamp not null default now(),
  updated_at timestamp not null default now(),
  constraint one_time_tokens_pkey primary key (id),
  constraint one_time_tokens_token_hash_check check (char_length(token_hash) > 0),
  constraint one_time_tokens_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create unique index if not exists one_time_tokens_user_id_token_type_key on auth.one_time_tokens (user_id, token_type);
create index if not exists one_time_tokens_token_hash_hash_idx on auth.one_time_tokens using hash (token_hash);
create index if not exists one_time_tokens_relates_to_hash_idx on auth.one_time_tokens using hash (relates_to);

create table if not exists auth.flow_state (
  id uuid not null,
  user_id uuid,
  auth_code text,
  code_challenge_method auth.code_challenge_method,
  code_challenge text,
  provider_type text not null,
  provider_access_token text,
  provider_refresh_token text,
  created_at timestamptz,
  updated_at timestamptz,
  authentication_method text not null,
  auth_code_issued_at timestamptz,
  invite_token text,
  referrer text,
  oauth_client_state_id uuid,
  linking_target_id uuid,
  email_optional boolean not null default false,
  constraint flow_state_pkey primary key (id)
);
create index if not exists flow_state_created_at_idx on auth.flow_state (created_at desc);
create index if not exists idx_auth_code on auth.flow_state (auth_code);
create index if not exists idx_user_id_auth_method on auth.flow_state (user_id, authentication_method);

create table if not exists auth.audit_log_entries (
  instance_id uuid,
  id uuid not null,
  payload json,
  created_at timestamptz,
  ip_address varchar(64) not null default '',
  constraint audit_log_entries_pkey primary key (id)
);
create index if not exists audit_logs_instance_id_idx on auth.audit_log_entries (instance_id);

create table if not exists auth.sso_providers (
  id uuid not null,
  resource_id text,
  created_at timestamptz,
  updated_at timestamptz,
  disabled boolean,
  constraint sso_providers_pkey primary key (id),
  constraint "resource_id not empty" check (resource_id is null or char_length(resource_id) > 0)
);
create unique index if not exists sso_providers_resource_id_idx on auth.sso_providers (lower(resource_id));
create index if not exists sso_providers_resource_id_pattern_idx on auth.sso_providers (resource_id text_pattern_ops);

create table if not exists auth.sso_domains (
  id uuid not null,
  sso_provider_id uuid not null,
  domain text not null,
  created_at timestamptz,
  updated_at timestamptz,
  constraint sso_domains_pkey primary key (id),
  constraint "domain not empty" check (char_length(domain) > 0),
  constraint sso_domains_sso_provider_id_fkey
    foreign key (sso_provider_id) references auth.sso_providers (id) on delete cascade
);
create unique index if not exists sso_domains_domain_idx on auth.sso_domains (lower(domain));
create index if not exists sso_domains_sso_provider_id_idx on auth.sso_domains (sso_provider_id);

create table if not exists auth.saml_providers (
  id uuid not null,
  sso_provider_id uuid not null,
  entity_id text not null,
  metadata_xml text not null,
  metadata_url text,
  attribute_mapping jsonb,
  created_at timestamptz,
  updated_at timestamptz,
  name_id_format text,
  constraint saml_providers_pkey primary key (id),
  constraint saml_providers_entity_id_key unique (entity_id),
  constraint "entity_id not empty" check (char_length(entity_id) > 0),
  constraint "metadata_url not empty" check (metadata_url is null or char_length(metadata_url) > 0),
  constraint "metadata_xml not empty" check (char_length(metadata_xml) > 0),
  constraint saml_providers_sso_provider_id_fkey
    foreign key (sso_provider_id) references auth.sso_providers (id) on delete cascade
);
create index if not exists saml_providers_sso_provider_id_idx on auth.saml_providers (sso_provider_id);

create table if not exists auth.saml_relay_states (
  id uuid not null,
  sso_provider_id uuid not null,
  request_id text not null,
  for_email text,
  redirect_to text,
  created_at timestamptz,
  updated_at timestamptz,
  flow_state_id uuid,
  constraint saml_relay_states_pkey primary key (id),
  constraint "request_id not empty" check (char_length(request_id) > 0),
  constraint saml_relay_states_sso_provider_id_fkey
    foreign key (sso_provider_id) references auth.sso_providers (id) on delete cascade,
  constraint saml_relay_states_flow_state_id_fkey
    foreign key (flow_state_id) references auth.flow_state (id) on delete cascade
);
create index if not exists saml_relay_states_created_at_idx on auth.saml_relay_states (created_at desc);
create index if not exists saml_relay_states_for_email_idx on auth.saml_relay_states (for_email);
create index if not exists saml_relay_states_sso_provider_id_idx on auth.saml_relay_states (sso_provider_id);

create table if not exists auth.oauth_authorizations (
  id uuid not null,
  authorization_id text not null,
  client_id uuid not null,
  user_id uuid,
  redirect_uri text not null,
  scope text not null,
  state text,
  resource text,
  code_challenge text,
  code_challenge_method auth.code_challenge_method,
  response_type auth.oauth_response_type not null default 'code',
  status auth.oauth_authorization_status not null default 'pending',
  authorization_code text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default (now() + interval '3 minutes'),
  approved_at timestamptz,
  nonce text,
  constraint oauth_authorizations_pkey primary key (id),
  constraint oauth_authorizations_authorization_id_key unique (authorization_id),
  constraint oauth_authorizations_authorization_code_key unique (authorization_code),
  constraint oauth_authorizations_authorization_code_length check (char_length(authorization_code) <= 255),
  constraint oauth_authorizations_code_challenge_length check (char_length(code_challenge) <= 128),
  constraint oauth_authorizations_expires_at_future check (expires_at > created_at),
  constraint oauth_authorizations_nonce_length check (char_length(nonce) <= 255),
  constraint oauth_authorizations_redirect_uri_length check (char_length(redirect_uri) <= 2048),
  constraint oauth_authorizations_resource_length check (char_length(resource) <= 2048),
  constraint oauth_authorizations_scope_length check (char_length(scope) <= 4096),
  constraint oauth_authorizations_state_length check (char_length(state) <= 4096),
  constraint oauth_authorizations_client_id_fkey foreign key (client_id) references auth.oauth_clients (id) on delete cascade,
  constraint oauth_authorizations_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create index if not exists oauth_auth_pending_exp_idx on auth.oauth_authorizations (expires_at) where status = 'pending';

create table if not exists auth.oauth_consents (
  id uuid not null,
  user_id uuid not null,
  client_id uuid not null,
  scopes text not null,
  granted_at timestamptz not null default now(),
  revoked_at timestamptz,
  constraint oauth_consents_pkey primary key (id),
  constraint oauth_consents_user_client_unique unique (user_id, client_id),
  constraint oauth_consents_revoked_after_granted check (revoked_at is null or revoked_at >= granted_at),
  constraint oauth_consents_scopes_length check (char_length(scopes) <= 2048),
  constraint oauth_consents_scopes_not_empty check (char_length(trim(scopes)) > 0),
  constraint oauth_consents_client_id_fkey foreign key (client_id) references auth.oauth_clients (id) on delete cascade,
  constraint oauth_consents_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create index if not exists oauth_consents_active_client_idx on auth.oauth_consents (client_id) where revoked_at is null;
create index if not exists oauth_consents_active_user_client_idx on auth.oauth_consents (user_id, client_id)
  where revoked_at is null;
create index if not exists oauth_consents_user_order_idx on auth.oauth_consents (user_id, granted_at desc);

create table if not exists auth.oauth_client_states (
  id uuid not null,
  provider_type text not null,
  code_verifier text,
  created_at timestamptz not null,
  constraint oauth_client_states_pkey primary key (id)
);
create index if not exists idx_oauth_client_states_created_at on auth.oauth_client_states (created_at);

create table if not exists auth.custom_oauth_providers (
  id uuid not null default gen_random_uuid(),
  provider_type text not null,
  identifier text not null,
  name text not null,
  client_id text not null,
  client_secret text not null,
  acceptable_client_ids text[] not null default '{}',
  scopes text[] not null default '{}',
  pkce_enabled boolean not null default true,
  attribute_mapping jsonb not null default '{}',
  authorization_params jsonb not null default '{}',
  enabled boolean not null default true,
  email_optional boolean not null default false,
  issuer text,
  discovery_url text,
  skip_nonce_check boolean not null default false,
  cached_discovery jsonb,
  discovery_cached_at timestamptz,
  authorization_url text,
  token_url text,
  userinfo_url text,
  jwks_uri text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  custom_claims_allowlist text[] not null default '{}',
  constraint custom_oauth_providers_pkey primary key (id),
  constraint custom_oauth_providers_identifier_key unique (identifier),
  constraint custom_oauth_providers_provider_type_check check (provider_type in ('oauth2', 'oidc')),
  constraint custom_oauth_providers_identifier_format check (identifier ~ '^[a-z0-9][a-z0-9:-]{0,48}[a-z0-9]$'),
  constraint custom_oauth_providers_name_length check (char_length(name) between 1 and 100),
  constraint custom_oauth_providers_client_id_length check (char_length(client_id) between 1 and 512),
  constraint custom_oauth_providers_issuer_length check (char_length(issuer) between 1 and 2048),
  constraint custom_oauth_providers_discovery_url_length check (char_length(discovery_url) <= 2048),
  constraint custom_oauth_providers_authorization_url_length check (char_length(authorization_url) <= 2048),
  constraint custom_oauth_providers_token_url_length check (char_length(token_url) <= 2048),
  constraint custom_oauth_providers_userinfo_url_length check (char_length(userinfo_url) <= 2048),
  constraint custom_oauth_providers_jwks_uri_length check (char_length(jwks_uri) <= 2048),
  constraint custom_oauth_providers_authorization_url_https check (authorization_url like 'https://%'),
  constraint custom_oauth_providers_token_url_https check (token_url like 'https://%'),
  constraint custom_oauth_providers_userinfo_url_https check (userinfo_url like 'https://%'),
  constraint custom_oauth_providers_jwks_uri_https check (jwks_uri like 'https://%'),
  constraint custom_oauth_providers_oauth2_requires_endpoints
    check (provider_type <> 'oauth2' or num_nulls(authorization_url, token_url, userinfo_url) = 0),
  constraint custom_oauth_providers_oidc_requires_issuer check (provider_type <> 'oidc' or issuer is not null),
  constraint custom_oauth_providers_oidc_issuer_https check (provider_type <> 'oidc' or issuer like 'https://%'),
  constraint custom_oauth_providers_oidc_discovery_url_https check (provider_type <> 'oidc' or discovery_url like 'https://%')
);
create index if not exists custom_oauth_providers_created_at_idx on auth.custom_oauth_providers (created_at);
create index if not exists custom_oauth_providers_enabled_idx on auth.custom_oauth_providers (enabled);
create index if not exists custom_oauth_providers_identifier_idx on auth.custom_oauth_providers (identifier);
create index if not exists custom_oauth_providers_provider_type_idx on auth.custom_oauth_providers (provider_type);

create table if not exists auth.webauthn_credentials (
  id uuid not null default gen_random_uuid(),
  user_id uuid not null,
  credential_id bytea not null,
  public_key bytea not null,
  attestation_type text not null default '',
  aaguid uuid,
  sign_count bigint not null default 0,
  transports jsonb not null default '[]',
  backup_eligible boolean not null default false,
  backed_up boolean not null default false,
  friendly_name text not null default '',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_used_at timestamptz,
  constraint webauthn_credentials_pkey primary key (id),
  constraint webauthn_credentials_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create unique index if not exists webauthn_credentials_credential_id_key on auth.webauthn_credentials (credential_id);
create index if not exists webauthn_credentials_user_id_idx on auth.webauthn_credentials (user_id);

create table if not exists auth.webauthn_challenges (
  id uuid not null default gen_random_uuid(),
  user_id uuid,
  challenge_type text not null,
  session_data jsonb not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  constraint webauthn_challenges_pkey primary key (id),
  constraint webauthn_challenges_challenge_type_check check (challenge_type in ('signup', 'registration', 'authentication')),
  constraint webauthn_challenges_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade
);
create index if not exists webauthn_challenges_expires_at_idx on auth.webauthn_challenges (expires_at);
create index if not exists webauthn_challenges_user_id_idx on auth.webauthn_challenges (user_id);

-- On without a policy: nobody but the owner and roles that bypass row security sees a row, whatever is granted by mistake.
alter table auth.audit_log_entries enable row level security;
alter table auth.flow_state enable row level security;
alter table auth.identities enable row level security;
alter table auth.instances enable row level security;
alter table auth.mfa_amr_claims enable row level security;
alter table auth.mfa_challenges enable row level security;
alter table auth.mfa_factors enable row level security;
alter table auth.one_time_tokens enable row level security;
alter table auth.refresh_tokens enable row level security;
alter table auth.saml_providers enable row level security;
alter table auth.saml_relay_states enable row level security;
alter table auth.schema_migrations enable row level security;
alter table auth.sessions enable row level security;
alter table auth.sso_domains enable row level security;
alter table auth.sso_providers enable row level security;
alter table auth.users enable row level security;

-- Migrations drop triggers that they made on auth.users; on Supabase supautils lets postgres do so, PostgreSQL only the table's owner.
-- The command line's runner turns that one statement into a call of this. Nothing of ours is a trigger on these tables.
create or replace function auth.drop_user_trigger(trigger_name text, table_name text, is_lenient boolean) returns void
  language plpgsql security definer set search_path = '' as $$
begin
  if is_lenient then
    execute pg_catalog.format('drop trigger if exists %I on auth.%I', trigger_name, table_name);
  else
    execute pg_catalog.format('drop trigger %I on auth.%I', trigger_name, table_name);
  end if;
end
$$;
revoke execute on function auth.drop_user_trigger(text, text, boolean) from public;

-- anon, authenticated and service_role have the schema's usage (for auth.uid()) and no table.
grant all on all tables in schema auth to postgres, dashboard_user;
grant all on all sequences in schema auth to postgres, dashboard_user;
grant all on all routines in schema auth to postgres, dashboard_user;
grant select on
  auth.audit_log_entries, auth.flow_state, auth.identities, auth.instances, auth.mfa_amr_claims, auth.mfa_challenges,
  auth.mfa_factors, auth.one_time_tokens, auth.refresh_tokens, auth.saml_providers, auth.saml_relay_states,
  auth.schema_migrations, auth.sessions, auth.sso_domains, auth.sso_providers, auth.users
  to postgres with grant option;

reset role;

----------------------------------------------------------------------------------------------------------------------
-- 4. storage (source: supabase/storage, migrations/tenant; contract: row security on everywhere, policies are the users')
----------------------------------------------------------------------------------------------------------------------

-- Lists of storage compare lower(name). Below policies PostgreSQL uses an index for a comparison only if its functions are known to tell
-- nothing of the rows that policies hide, and of its built-in functions on text only the operators are marked so. lower(text) cannot
-- fail or print anything that depends on its argument; unmarked, a list of any folder would read the bucket from its beginning.
do $leakproof$
begin
  if not (select proleakproof from pg_catalog.pg_proc where oid = 'pg_catalog.lower(text)'::pg_catalog.regprocedure) then
    alter function pg_catalog.lower(text) leakproof;
  end if;
exception when insufficient_privilege then
  null; -- a managed server's owner may not mark it; lists are right there, and slower
end
$leakproof$;

set role supabase_storage_admin;

do $types$
begin
  if pg_catalog.to_regtype('storage.buckettype') is null then
    create type storage.buckettype as enum ('STANDARD', 'ANALYTICS', 'VECTOR');
  end if;
end
$types$;

create table if not exists storage.migrations (
  id integer not null,
  name varchar(100) not null,
  hash varchar(40) not null,
  executed_at timestamp default current_timestamp,
  constraint migrations_pkey primary key (id),
  constraint migrations_name_key unique (name)
);

create table if not exists storage.buckets (
  id text not null,
  name text not null,
  owner uuid,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  public boolean default false,
  avif_autodetection boolean default false,
  file_size_limit bigint,
  allowed_mime_types text[],
  owner_id text,
  type storage.buckettype not null default 'STANDARD',
  versioning_status text not null default 'DISABLED',
  constraint buckets_pkey primary key (id),
  constraint buckets_versioning_dark_check check (versioning_status = 'DISABLED'),
  constraint buckets_versioning_standard_only_check check (type = 'STANDARD' or versioning_status = 'DISABLED'),
  constraint buckets_versioning_status_check check (versioning_status in ('DISABLED', 'ENABLED', 'SUSPENDED'))
);
comment on column storage.buckets.owner is 'Deprecated: use owner_id, which also holds subjects that are no UUID.';
create unique index if not exists bname on storage.buckets (name);

create table if not exists storage.objects (
  id uuid not null default gen_random_uuid(),
  bucket_id text,
  name text,
  owner uuid,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  last_accessed_at timestamptz default now(),
  metadata jsonb,
  path_tokens text[] generated always as (string_to_array(name, '/')) stored,
  version text,
  owner_id text,
  user_metadata jsonb,
  archived_at timestamptz,
  is_delete_marker boolean not null default false,
  is_versioned boolean not null default false,
  constraint objects_pkey primary key (id),
  constraint "objects_bucketId_fkey" foreign key (bucket_id) references storage.buckets (id)
);
comment on column storage.objects.owner is 'Deprecated: use owner_id, which also holds subjects that are no UUID.';
create unique index if not exists bucketid_objname on storage.objects (bucket_id, name);
create index if not exists idx_objects_bucket_id_name on storage.objects (bucket_id, name collate "C");
create index if not exists idx_objects_bucket_id_name_lower on storage.objects (bucket_id, lower(name) collate "C");
create index if not exists name_prefix_search on storage.objects (name text_pattern_ops);

create table if not exists storage.s3_multipart_uploads (
  id text not null,
  in_progress_size bigint not null default 0,
  upload_signature text not null,
  bucket_id text not null,
  key text not null collate "C",
  version text not null,
  owner_id text,
  created_at timestamptz not null default now(),
  user_metadata jsonb,
  metadata jsonb,
  constraint s3_multipart_uploads_pkey primary key (id),
  constraint s3_multipart_uploads_bucket_id_fkey foreign key (bucket_id) references storage.buckets (id)
);
create index if not exists idx_multipart_uploads_list on storage.s3_multipart_uploads (bucket_id, key, created_at);

create table if not exists storage.s3_multipart_uploads_parts (
  id uuid not null default gen_random_uuid(),
  upload_id text not null,
  size bigint not null default 0,
  part_number integer not null,
  bucket_id text not null,
  key text not null collate "C",
  etag text not null,
  owner_id text,
  version text not null,
  created_at timestamptz not null default now(),
  constraint s3_multipart_uploads_parts_pkey primary key (id),
  constraint s3_multipart_uploads_parts_bucket_id_fkey foreign key (bucket_id) references storage.buckets (id),
  constraint s3_multipart_uploads_parts_upload_id_fkey
    foreign key (upload_id) references storage.s3_multipart_uploads (id) on delete cascade
);

create table if not exists storage.buckets_analytics (
  name text not null,
  type storage.buckettype not null default 'ANALYTICS',
  format text not null default 'ICEBERG',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  id uuid not null default gen_random_uuid(),
  deleted_at timestamptz,
  constraint buckets_analytics_pkey primary key (id)
);
create unique index if not exists buckets_analytics_unique_name_idx on storage.buckets_analytics (name)
  where deleted_at is null;

create table if not exists storage.iceberg_namespaces (
  id uuid not null default gen_random_uuid(),
  bucket_name text not null,
  name text not null collate "C",
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  metadata jsonb not null default '{}',
  catalog_id uuid not null,
  constraint iceberg_namespaces_pkey primary key (id),
  constraint iceberg_namespaces_catalog_id_fkey
    foreign key (catalog_id) references storage.buckets_analytics (id) on delete cascade
);
create unique index if not exists idx_iceberg_namespaces_bucket_id on storage.iceberg_namespaces (catalog_id, name);

create table if not exists storage.iceberg_tables (
  id uuid not null default gen_random_uuid(),
  namespace_id uuid not null,
  bucket_name text not null,
  name text not null collate "C",
  location text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  remote_table_id text,
  shard_key text,
  shard_id text,
  catalog_id uuid not null,
  constraint iceberg_tables_pkey primary key (id),
  constraint iceberg_tables_catalog_id_fkey
    foreign key (catalog_id) references storage.buckets_analytics (id) on delete cascade,
  constraint iceberg_tables_namespace_id_fkey
    foreign key (namespace_id) references storage.iceberg_namespaces (id) on delete cascade
);
create unique index if not exists idx_iceberg_tables_location on storage.iceberg_tables (location);
create unique index if not exists idx_iceberg_tables_namespace_id on storage.iceberg_tables (catalog_id, namespace_id, name);

create table if not exists storage.buckets_vectors (
  id text not null,
  type storage.buckettype not null default 'VECTOR',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint buckets_vectors_pkey primary key (id)
);

create table if not exists storage.vector_indexes (
  id text not null default gen_random_uuid(),
  name text not null collate "C",
  bucket_id text not null,
  data_type text not null,
  dimension integer not null,
  distance_metric text not null,
  metadata_configuration jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint vector_indexes_pkey primary key (id),
  constraint vector_indexes_bucket_id_fkey foreign key (bucket_id) references storage.buckets_vectors (id)
);
create unique index if not exists vector_indexes_name_bucket_id_idx on storage.vector_indexes (name, bucket_id);

alter table storage.migrations enable row level security;
alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
alter table storage.s3_multipart_uploads enable row level security;
alter table storage.s3_multipart_uploads_parts enable row level security;
alter table storage.buckets_analytics enable row level security;
alter table storage.iceberg_namespaces enable row level security;
alter table storage.iceberg_tables enable row level security;
alter table storage.buckets_vectors enable row level security;
alter table storage.vector_indexes enable row level security;

-- Parts of an object's name, for policies: 'avatars/7/me.png' is in folder {avatars,7}, its file is me.png.
create or replace function storage.foldername(name text) returns text[] language sql immutable as $$
  select (string_to_array(name, '/'))[1:greatest(cardinality(string_to_array(name, '/')) - 1, 0)]
$$;
create or replace function storage.filename(name text) returns text language sql immutable as $$
  select split_part(name, '/', -1)
$$;
-- The text after the last dot of the file name; the whole file name when it has no dot.
create or replace function storage.extension(name text) returns text language sql immutable as $$
  select split_part(split_part(name, '/', -1), '.', -1)
$$;

-- What the storage service is doing, such as storage.object.list, for policies that allow one operation and not another.
create or replace function storage.operation() returns text language sql stable as $$
  select current_setting('storage.operation', true)
$$;
create or replace function storage.allow_any_operation(expected_operations text[]) returns boolean language sql stable as $$
  select exists (
    select from unnest(expected_operations) as e (operation)
     where e.operation <> ''
       and regexp_replace(e.operation, '^storage\.', '') = regexp_replace(storage.operation(), '^storage\.', '')
  )
$$;
create or replace function storage.allow_only_operation(expected_operation text) returns boolean language sql stable as $$
  select storage.allow_any_operation(array[expected_operation])
$$;

create or replace function storage.get_size_by_bucket() returns table (size bigint, bucket_id text) language sql stable as $$
  select sum((o.metadata ->> 'size')::bigint)::bigint, o.bucket_id from storage.objects as o group by o.bucket_id
$$;

-- Raises what the caller's policies raise, or PT200 (so that the insert is undone) when they allow it.
create or replace function storage.can_insert_object(bucketid text, name text, owner uuid, metadata jsonb) returns void
language plpgsql as $$
begin
  insert into storage.objects (bucket_id, name, owner, metadata) values (bucketid, name, owner, metadata);
  raise sqlstate 'PT200' using message = 'ROLLBACK', detail = 'rollback successful insert';
end
$$;

create or replace function storage.update_updated_at_column() returns trigger language plpgsql as $$
begin
  new.updated_at = now();
  return new;
end
$$;
create or replace trigger update_objects_updated_at before update on storage.objects
  for each row execute function storage.update_updated_at_column();

create or replace function storage.enforce_bucket_name_length() returns trigger language plpgsql as $$
begin
  if length(new.name) > 100 then
    raise exception 'bucket name "%" is too long (% characters). Max is 100.', new.name, length(new.name);
  end if;
  return new;
end
$$;
create or replace trigger enforce_bucket_name_length_trigger before insert or update of name on storage.buckets
  for each row execute function storage.enforce_bucket_name_length();

-- A row that is deleted behind the service's back leaves its blob for ever, so only the service may delete.
create or replace function storage.protect_delete() returns trigger language plpgsql as $$
begin
  if coalesce(current_setting('storage.allow_delete_query', true), '') <> 'true' then
    raise exception 'Direct deletion from storage tables is not allowed. Use the Storage API instead.'
      using errcode = 'insufficient_privilege', hint = 'The file behind a deleted row would stay, and nothing would point to it.';
  end if;
  return null;
end
$$;
create or replace trigger protect_buckets_delete before delete on storage.buckets
  for each statement execute function storage.protect_delete();
create or replace trigger protect_objects_delete before delete on storage.objects
  for each statement execute function storage.protect_delete();

-- Tries to write a row as whoever calls, with all policies and triggers that this meets, and takes it back; errors are those of the
-- write. Tells whether there was a row at the key, its version and its ETag; nulls where an upsert wrote nothing.
create or replace function storage.try_object_write(
  new_id uuid, new_bucket text, new_name text, new_owner uuid, new_owner_id text, new_metadata jsonb, new_user_metadata jsonb,
  is_upsert boolean, out is_replacement boolean, out old_version text, out old_etag text
)
language plpgsql as $$
begin
  if is_upsert then
    -- RETURNING asks the SELECT policy, and DO UPDATE the UPDATE policy where the key exists. "old" is read in the snapshot of the
    -- statement, so it shows the row as it was.
    with old as (
      select o.version, o.metadata ->> 'eTag' as etag from storage.objects as o where o.bucket_id = new_bucket and o.name = new_name
    )
    insert into storage.objects (id, bucket_id, name, owner, owner_id, version, metadata, user_metadata)
    values (new_id, new_bucket, new_name, new_owner, new_owner_id, '1', new_metadata, new_user_metadata)
    on conflict (name, bucket_id) do update set
        version = excluded.version,
        metadata = excluded.metadata,
        user_metadata = coalesce(excluded.user_metadata, objects.user_metadata),
        owner = coalesce(excluded.owner, objects.owner),
        owner_id = coalesce(excluded.owner_id, objects.owner_id)
    returning exists (select from old), (select o.version from old as o), (select o.etag from old as o)
    into is_replacement, old_version, old_etag;
  else
    -- Without RETURNING only the INSERT policy is asked.
    insert into storage.objects (id, bucket_id, name, owner, owner_id, version, metadata, user_metadata)
    values (new_id, new_bucket, new_name, new_owner, new_owner_id, '1', new_metadata, new_user_metadata);
    is_replacement := false;
  end if;
  raise exception using errcode = 'IBDRY';
exception when sqlstate 'IBDRY' then
  null; -- what was written is gone; variables keep their values
end
$$;

-- Writes a row as another server has it (isobase_adapter carries objects so): every column is told, no trigger runs, as it ran where
-- the object was written. Holds only over the expected row: of that version, or (replaces false) none. A row of the same id at
-- another key is older than its move and takes a new id until it is removed. Only the service may call it.
create or replace function storage.write_carried_object(
  wanted_bucket text, wanted_name text, wanted_version text, wanted jsonb, replaces boolean, expected_version text,
  out is_written boolean, out replaced_version text
)
language plpgsql security definer set search_path = '' as $$
declare
  had_row boolean;
begin
  is_written := false;
  begin
    perform set_config('session_replication_role', 'replica', true);
  exception when insufficient_privilege then
    null; -- triggers run, then, and updated_at is of now
  end;
  perform pg_advisory_xact_lock(hashtextextended('isobase storage ' || wanted_bucket || '/' || wanted_name, 0));
  perform from storage.buckets as b where b.id = wanted_bucket for key share; -- foreign keys are triggers too
  if not found then
    return;
  end if;
  select o.version into replaced_version from storage.objects as o
   where o.bucket_id = wanted_bucket and o.name = wanted_name for update;
  had_row := found;
  if had_row = replaces and replaced_version is not distinct from expected_version then
    update storage.objects as o set id = gen_random_uuid()
     where o.id = (wanted ->> 'id')::uuid and (o.bucket_id, o.name) is distinct from (wanted_bucket, wanted_name);
    insert into storage.objects as o
      (id, bucket_id, name, owner, owner_id, created_at, updated_at, last_accessed_at, version, metadata, user_metadata)
    select v.id, wanted_bucket, wanted_name, v.owner, v.owner_id, v.created_at, v.updated_at, v.last_accessed_at, wanted_version,
           v.metadata, nullif(v.user_metadata, 'null'::jsonb)
      from jsonb_to_record(wanted) as v (
        id uuid, owner uuid, owner_id text, created_at timestamptz, updated_at timestamptz, last_accessed_at timestamptz,
        metadata jsonb, user_metadata jsonb)
    on conflict (bucket_id, name) do update set
      id = excluded.id, owner = excluded.owner, owner_id = excluded.owner_id, created_at = excluded.created_at,
      updated_at = excluded.updated_at, last_accessed_at = excluded.last_accessed_at, version = excluded.version,
      metadata = excluded.metadata, user_metadata = excluded.user_metadata;
    is_written := true;
  end if;
end
$$;
revoke all on function storage.write_carried_object(text, text, text, jsonb, boolean, text) from public;
grant execute on function storage.write_carried_object(text, text, text, jsonb, boolean, text) to service_role;

-- One level of a bucket as a folder listing, in bytewise order of the names: files of the level, and each folder once.
--
-- bucket: whose objects. prefix: what the full name must begin with; the level ends at the next delimiter after it.
-- after: name of the last entry the caller has ('' for none); a trailing delimiter says that it was a folder.
-- max_entries, skip_entries: page size and entries to leave out first. is_descending: reverse order.
-- folds_case: compare and order lower(name); folders that differ in case only are one.
-- Returns name (full; a folder's without trailing delimiter), is_folder, and a file's columns (null for folders).
--
-- Reads index-ordered batches and jumps behind a folder once a batch ends in it: the cost follows the number of entries, not of
-- objects. Runs with the caller's rights, so policies decide what is listed.
create or replace function storage.list_level(
  bucket text, prefix text, delimiter text, after text, max_entries integer, skip_entries integer, is_descending boolean,
  folds_case boolean
)
returns table (
  name text, is_folder boolean, id uuid, updated_at timestamptz, created_at timestamptz, last_accessed_at timestamptz,
  metadata jsonb
)
language plpgsql stable as $$
declare
  batch_size constant integer := least(greatest(2 * (max_entries + skip_entries), 100), 1000);
  key_sql constant text := case when folds_case then 'lower(o.name) collate "C"' else 'o.name collate "C"' end;
  wanted constant text := case when folds_case then lower(prefix) else prefix end;
  -- No name that begins with `wanted` sorts behind this: U+10FFFF is the greatest character in UTF-8 order.
  upper_bound constant text := wanted || chr(1114111);
  batch_sql constant text := format(
    'select o.name, o.id, o.updated_at, o.created_at, o.last_accessed_at, o.metadata, %1$s as key'
    '  from storage.objects as o'
    ' where o.bucket_id = $1 and %1$s >= $2 and %1$s <= $3 and (%1$s, o.name collate "C") %2$s ($4, $5)'
    ' order by %1$s %3$s, o.name collate "C" %3$s limit $6',
    key_sql, case when is_descending then '<' else '>' end, case when is_descending then 'desc' else 'asc' end);
  seek_key text := case when is_descending then upper_bound else wanted end;
  seek_name text := '';
  cursor_key text := case when folds_case then lower(after) else after end;
  found record;
  folder_key text;   -- key of the folder that the last row was in, with its delimiter; null for a file
  previous_folder text := '';
  delimiter_at integer;
  in_batch integer;
  skipped integer := 0;
  emitted integer := 0;
begin
  if cursor_key <> '' then
    folder_key := null;
    if delimiter <> '' then
      if right(cursor_key, length(delimiter)) = delimiter then
        folder_key := cursor_key;
      elsif exists (select from storage.list_level(bucket, after || delimiter, '', '', 1, 0, false, folds_case)) then
        folder_key := cursor_key || delimiter;
      end if;
    end if;
    if folder_key is null then
      seek_key := cursor_key;
      seek_name := case when folds_case then case when is_descending then '' else upper_bound end else after end;
    elsif is_descending then
      seek_key := folder_key;
    else
      seek_key := left(folder_key, -1) || chr(ascii(right(folder_key, 1)) + 1);
    end if;
  end if;

  loop
    in_batch := 0;
    for found in execute batch_sql using bucket, wanted, upper_bound, seek_key, seek_name, batch_size loop
      in_batch := in_batch + 1;
      delimiter_at := case when delimiter = '' then 0 else position(delimiter in substring(found.key from length(wanted) + 1)) end;
      if delimiter_at > 0 then
        folder_key := left(found.key, length(wanted) + delimiter_at - 1) || delimiter;
        continue when folder_key = previous_folder;
        previous_folder := folder_key;
      else
        folder_key := null;
        seek_key := found.key;
        seek_name := found.name;
      end if;
      if skipped < skip_entries then
        skipped := skipped + 1;
        continue;
      end if;
      exit when emitted >= max_entries;
      emitted := emitted + 1;
      is_folder := folder_key is not null;
      if is_folder then
        name := left(found.name, length(prefix) + delimiter_at - 1);
        id := null; updated_at := null; created_at := null; last_accessed_at := null; metadata := null;
      else
        name := found.name;
        id := found.id;
        updated_at := found.updated_at;
        created_at := found.created_at;
        last_accessed_at := found.last_accessed_at;
        metadata := found.metadata;
      end if;
      return next;
    end loop;
    exit when in_batch < batch_size or emitted >= max_entries;
    if folder_key is not null then
      seek_name := '';
      seek_key := case when is_descending then folder_key
                       else left(folder_key, -1) || chr(ascii(right(folder_key, 1)) + 1) end;
    end if;
  end loop;
end
$$;

-- Listing of the storage API, first version. Matching ignores case; names are relative to `prefix`; `search` is what the rest of the name
-- must begin with. Sorted by name, folders and files are interleaved; by a time, folders come first, each for itself where names
-- differ in case only. `levels` has no effect (the depth follows from the prefix) and stays because callers pass it.
create or replace function storage.search(
  prefix text, bucketname text, limits integer default 100, levels integer default 1, offsets integer default 0,
  search text default '', sortcolumn text default 'name', sortorder text default 'asc'
)
returns table (
  name text, id uuid, updated_at timestamptz, created_at timestamptz, last_accessed_at timestamptz, metadata jsonb
)
language plpgsql stable as $$
declare
  max_rows constant integer := least(coalesce(limits, 100), 1500);
  start_of_name constant text := coalesce(prefix, '') || coalesce(search, '');
  column_name constant text := case when lower(sortcolumn) in ('updated_at', 'created_at', 'last_accessed_at')
                                    then lower(sortcolumn) else 'name' end;
  direction constant text := case when lower(coalesce(sortorder, 'asc')) = 'asc' then 'asc' else 'desc' end;
begin
  if column_name = 'name' then
    return query
      select substring(l.name from length(coalesce(prefix, '')) + 1), l.id, l.updated_at, l.created_at, l.last_accessed_at, l.metadata
        from storage.list_level(bucketname, start_of_name, '/', '', max_rows, coalesce(offsets, 0), direction = 'desc', true) as l;
    return;
  end if;
  return query execute format(
    'with level as ('
    '  select o.*, position(''/'' in substring(o.name from length($2) + 1)) as slash_at'
    '    from storage.objects as o'
    '   where o.bucket_id = $1 and lower(o.name) collate "C" between lower($2) and lower($2) || chr(1114111)'
    '), entries as ('
    '  select 0 as rank, left(l.name, length($2) + l.slash_at - 1) as name, null::uuid as id,'
    '         null::timestamptz as updated_at, null::timestamptz as created_at, null::timestamptz as last_accessed_at,'
    '         null::jsonb as metadata'
    '    from level as l where l.slash_at > 0 group by left(l.name, length($2) + l.slash_at - 1)'
    '   union all'
    '  select 1, l.name, l.id, l.updated_at, l.created_at, l.last_accessed_at, l.metadata from level as l where l.slash_at = 0'
    ') select substring(e.name from $3), e.id, e.updated_at, e.created_at, e.last_accessed_at, e.metadata from entries as e'
    ' order by e.rank, e.%1$I %2$s, e.name %2$s limit $4 offset $5', column_name, direction)
    using bucketname, start_of_name, length(coalesce(prefix, '')) + 1, max_rows, coalesce(offsets, 0);
end
$$;

-- One level of a bucket for the S3 protocol: full names, case counts, `next_token` wins over `start_after`.
create or replace function storage.list_objects_with_delimiter(
  _bucket_id text, prefix_param text, delimiter_param text, max_keys integer default 100, start_after text default '',
  next_token text default '', sort_order text default 'asc'
)
returns table (
  name text, id uuid, metadata jsonb, updated_at timestamptz, created_at timestamptz, last_accessed_at timestamptz
)
language sql stable as $$
  select l.name, l.id, l.metadata, l.updated_at, l.created_at, l.last_accessed_at
    from storage.list_level(
           _bucket_id, coalesce(prefix_param, ''), coalesce(delimiter_param, ''),
           coalesce(nullif(next_token, ''), start_after, ''), coalesce(max_keys, 100), 0,
           lower(coalesce(sort_order, 'asc')) <> 'asc', false) as l
$$;

-- Listing of the storage API, second version: full names, case counts, continued behind a cursor. `key` is the last segment (the segment
-- number `levels`). Sorted by a time, the cursor is (sort_column_after, start_after) with times cut to milliseconds, because
-- that is what a cursor that went through JSON can hold; a folder's time is that of its oldest object.
create or replace function storage.search_v2(
  prefix text, bucket_name text, limits integer default 100, levels integer default 1, start_after text default '',
  sort_order text default 'asc', sort_column text default 'name', sort_column_after text default ''
)
returns table (
  key text, name text, id uuid, updated_at timestamptz, created_at timestamptz, last_accessed_at timestamptz, metadata jsonb
)
language plpgsql stable as $$
declare
  max_rows constant integer := least(coalesce(limits, 100), 1500);
  start_of_name constant text := coalesce(prefix, '');
  column_name constant text := case when lower(sort_column) in ('updated_at', 'created_at') then lower(sort_column) else 'name' end;
  direction constant text := case when lower(sort_order) = 'desc' then 'desc' else 'asc' end;
begin
  if column_name = 'name' then
    return query
      select split_part(l.name, '/', levels), l.name, l.id, l.updated_at, l.created_at, l.last_accessed_at, l.metadata
        from storage.list_level(
               bucket_name, start_of_name, '/', coalesce(start_after, ''), max_rows, 0, direction = 'desc', false) as l;
    return;
  end if;
  return query execute format(
    'with level as ('
    '  select o.*, position(''/'' in substring(o.name from length($2) + 1)) as slash_at'
    '    from storage.objects as o'
    '   where o.bucket_id = $1 and o.name collate "C" between $2 and $2 || chr(1114111)'
    '), entries as ('
    '  select left(l.name, length($2) + l.slash_at - 1) as name, null::uuid as id, min(l.created_at) as updated_at,'
    '         min(l.created_at) as created_at, null::timestamptz as last_accessed_at, null::jsonb as metadata'
    '    from level as l where l.slash_at > 0 group by 1'
    '   union all'
    '  select l.name, l.id, l.updated_at, l.created_at, l.last_accessed_at, l.metadata from level as l where l.slash_at = 0'
    '), timed as (select e.*, coalesce(date_trunc(''milliseconds'', e.%1$I), ''epoch'') as moment from entries as e)'
    ' select split_part(t.name, ''/'', $3), t.name, t.id, t.updated_at, t.created_at, t.last_accessed_at, t.metadata'
    '   from timed as t'
    '  where $5 = '''' or (t.moment, t.name collate "C") %2$s (coalesce(nullif($6, '''')::timestamptz, ''epoch''), $5)'
    '  order by t.moment %3$s, t.name collate "C" %3$s limit $4',
    column_name, case direction when 'asc' then '>' else '<' end, direction)
    using bucket_name, start_of_name, levels, max_rows, coalesce(start_after, ''), coalesce(sort_column_after, '');
end
$$;

grant all on storage.buckets, storage.objects to postgres with grant option;
grant all on storage.buckets, storage.objects, storage.buckets_analytics to anon, authenticated, service_role;
grant all on storage.migrations to postgres;
grant all on storage.s3_multipart_uploads, storage.s3_multipart_uploads_parts, storage.iceberg_namespaces, storage.iceberg_tables
  to service_role;
grant select on storage.s3_multipart_uploads, storage.s3_multipart_uploads_parts, storage.iceberg_namespaces,
  storage.iceberg_tables to anon, authenticated;
grant select on storage.buckets_vectors, storage.vector_indexes to anon, authenticated, service_role;

reset role;

----------------------------------------------------------------------------------------------------------------------
-- 5. realtime (source: supabase/realtime, tenant migrations)
----------------------------------------------------------------------------------------------------------------------

set role supabase_realtime_admin;

-- Messages sent from SQL, and the table whose policies decide who may join private channels. One partition per day (UTC) lets old
-- messages go without a vacuum.
create table if not exists realtime.messages (
  topic text not null,
  extension text not null,
  payload jsonb,
  event text,
  private boolean default false,
  updated_at timestamp not null default now(),
  inserted_at timestamp not null default now(),
  id uuid not null default gen_random_uuid(),
  binary_payload bytea,
  constraint messages_pkey primary key (id, inserted_at),
  constraint messages_payload_exclusive check (payload is null or binary_payload is null)
) partition by range (inserted_at);
create index if not exists messages_inserted_at_topic_index on realtime.messages (inserted_at desc, topic)
  where extension = 'broadcast' and private is true;
alter table realtime.messages enable row level security;
grant select, insert, update on realtime.messages to postgres, anon, authenticated, service_role;

-- The topic of the channel under check, for policies on realtime.messages.
create or replace function realtime.topic() returns text language sql stable as $$
  select nullif(current_setting('realtime.topic', true), '')
$$;

-- Makes the partitions from yesterday (sessions may run in a time zone behind UTC) to three days ahead and drops those that are over
-- three days old. Returns the number of partitions made. Called when this file is applied, by the realtime service once an hour, and by
-- realtime.send when a day is missing. With the owner's rights, because the sender has none on the schema; it takes no argument that
-- a caller could abuse.
create or replace function realtime.ensure_partitions() returns integer
language plpgsql security definer set search_path to '' set lock_timeout to '2s' as $$
declare
  today constant date := (pg_catalog.now() at time zone 'UTC')::date;
  day date;
  partition_name text;
  made integer := 0;
  old_partition text;
begin
  -- Two services that wake at the same moment make them once.
  if pg_catalog.to_regclass('realtime.messages_' || pg_catalog.to_char(today + 3, 'YYYY_MM_DD')) is null
     or pg_catalog.to_regclass('realtime.messages_' || pg_catalog.to_char(today, 'YYYY_MM_DD')) is null then
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('realtime.ensure_partitions', 0));
    for day in select today + offset_days from pg_catalog.generate_series(-1, 3) as offset_days loop
      partition_name := 'messages_' || pg_catalog.to_char(day, 'YYYY_MM_DD');
      continue when pg_catalog.to_regclass('realtime.' || partition_name) is not null;
      -- Attaching locks out no reader or writer of the parent; CREATE TABLE ... PARTITION OF would.
      execute pg_catalog.format('create table realtime.%I (like realtime.messages including defaults including constraints)',
                                partition_name);
      execute pg_catalog.format('alter table realtime.%I enable row level security', partition_name);
      execute pg_catalog.format('alter table realtime.messages attach partition realtime.%I for values from (%L) to (%L)',
                                partition_name, day, day + 1);
      made := made + 1;
    end loop;
  end if;
  for old_partition in
    select c.relname
      from pg_catalog.pg_inherits as i
      join pg_catalog.pg_class as c on c.oid = i.inhrelid
     where i.inhparent = 'realtime.messages'::pg_catalog.regclass
       and c.relname ~ '^messages_\d{4}_\d{2}_\d{2}$'
       and pg_catalog.to_date(pg_catalog.right(c.relname, 10), 'YYYY_MM_DD') < today - 3
  loop
    begin
      execute pg_catalog.format('drop table realtime.%I', old_partition);
    exception when lock_not_available then
      exit; -- somebody is reading messages for long; the next call finds it again
    end;
  end loop;
  return made;
end
$$;

-- Stores one message; a JSON payload without `id` gets one. Not for users: realtime.send and realtime.send_binary below.
create or replace function realtime.store_message(
  message_id uuid, json_payload jsonb, bytes_payload bytea, message_event text, message_topic text, is_private boolean
)
returns void language plpgsql as $$
begin
  -- Upstream's jsonb_set: what has no keys cannot be given an id, and is not sent.
  if not json_payload ? 'id' then
    json_payload := jsonb_set(json_payload, '{id}', to_jsonb(message_id));
  end if;
  perform set_config('realtime.topic', message_topic, true);
  begin
    insert into realtime.messages (id, payload, binary_payload, event, topic, private, extension)
    values (message_id, json_payload, bytes_payload, message_event, message_topic, is_private, 'broadcast');
  exception when check_violation then
    -- No partition for this day: nobody made it, because no service has run for days.
    if realtime.ensure_partitions() = 0 then
      raise;
    end if;
    insert into realtime.messages (id, payload, binary_payload, event, topic, private, extension)
    values (message_id, json_payload, bytes_payload, message_event, message_topic, is_private, 'broadcast');
  end;
exception when others then
  -- A message that cannot be sent must not undo the change that caused it.
  raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end
$$;

-- Broadcasts `payload` to the channel `topic`. `private`: only to private channels of that name.
create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql as $$
begin
  perform realtime.store_message(gen_random_uuid(), payload, null, event, topic, private);
end
$$;

create or replace function realtime.send_binary(payload bytea, event text, topic text, private boolean default true) returns void
language plpgsql as $$
begin
  perform realtime.store_message(gen_random_uuid(), null, payload, event, topic, private);
end
$$;

-- For row triggers: broadcasts what changed as {id, record, old_record, operation, table, schema}.
create or replace function realtime.broadcast_changes(
  topic_name text, event_name text, operation text, table_name text, table_schema text, new record, old record,
  level text default 'ROW'
)
returns void language plpgsql as $$
begin
  if level = 'STATEMENT' then
    raise exception 'function can only be triggered for each row, not for each statement';
  elsif operation not in ('INSERT', 'UPDATE', 'DELETE') then
    raise exception 'Unexpected operation type: %', operation;
  end if;
  perform realtime.send(
    jsonb_build_object('old_record', old, 'record', new, 'operation', operation, 'table', table_name, 'schema', table_schema),
    event_name, topic_name);
exception when others then
  raise exception 'Failed to process the row: %', sqlerrm;
end
$$;

do $partitions$
begin
  perform realtime.ensure_partitions();
end
$partitions$;

reset role;

do $publications$
begin
  -- Owned by postgres: migrations add their tables to it.
  if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
    begin
      alter publication supabase_realtime owner to postgres;
    exception when insufficient_privilege then
      -- postgres is another owner's superuser here: who applies this file keeps the publication, and adds the tables.
      null;
    end;
  end if;
  -- The stream of messages sent from SQL. Changes arrive under the parent's name, whatever the day.
  if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime_messages_publication') then
    create publication supabase_realtime_messages_publication for table realtime.messages
      with (publish = 'insert', publish_via_partition_root = true);
  end if;
exception when insufficient_privilege then
  raise warning 'publications could not be made, row changes will not be sent: %', sqlerrm;
end
$publications$;

----------------------------------------------------------------------------------------------------------------------
-- 6. isobase: the platform's own tables. The owner alone may use them, but for members of databases; postgres is given the move's alone.
----------------------------------------------------------------------------------------------------------------------

revoke all on schema isobase from public;

create table if not exists isobase.migrations (
  version text primary key,
  applied_at timestamptz not null default now(),
  checksum text not null
);
comment on table isobase.migrations is 'schema.sql and the numbered files of schema/ that were applied, with their SHA-256 in hex.';

-- Unlogged: what these two hold may be lost with a crash, and need not be written twice.
create unlogged table if not exists isobase.key_values (
  key text primary key,
  value bytea not null,
  expires_at timestamptz not null
);
comment on table isobase.key_values is 'Key-value store with expiry, where no Redis is configured.';
create index if not exists key_values_expires_at_idx on isobase.key_values (expires_at);

create unlogged table if not exists isobase.bus_payloads (
  id bigserial primary key,
  payload bytea not null,
  created_at timestamptz not null default clock_timestamp()
);
comment on table isobase.bus_payloads is 'Messages between processes that are over NOTIFY''s 8,000 bytes, where no Redis is configured.';
create index if not exists bus_payloads_created_at_idx on isobase.bus_payloads (created_at);

-- Writes of the data API that came with an Idempotency-Key, and their answers. A row is written in the transaction of the write itself. The
-- owner alone may read it; the login role, and no role that a user can have, may call the two functions.
create table if not exists isobase.idempotency_keys (
  key bytea primary key,
  fingerprint bytea not null,
  status smallint not null,
  headers text not null,
  body bytea,
  expires_at timestamptz not null
);
comment on table isobase.idempotency_keys is 'Answers of writes with an Idempotency-Key: key is a hash of caller and key, body is null where the answer was too large.';
create index if not exists idempotency_keys_expires_at_idx on isobase.idempotency_keys (expires_at);

-- One transaction at a time may write under a key. Raises IBK01 where the write was done, IBK02 where another one is doing it for too long.
create or replace function isobase.claim_idempotency_key(key bytea, lock_number bigint) returns boolean
  language plpgsql security definer set search_path = '' set lock_timeout = '5s' as $$
begin
  begin
    perform pg_catalog.pg_advisory_xact_lock(lock_number);
  exception when lock_not_available then
    raise exception using errcode = 'IBK02', message = 'the idempotency key is in use';
  end;
  if exists (select from isobase.idempotency_keys as k
              where k.key = claim_idempotency_key.key and k.expires_at > pg_catalog.clock_timestamp()) then
    raise exception using errcode = 'IBK01', message = 'the idempotency key was used';
  end if;
  return true;
end
$$;

create or replace function isobase.keep_idempotent_answer(
  key bytea, fingerprint bytea, status smallint, headers text, body bytea, life_s integer
) returns boolean language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  insert into isobase.idempotency_keys as k (key, fingerprint, status, headers, body, expires_at)
    values ($1, $2, $3, $4, $5, pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $6))
    on conflict (key) do update
      set fingerprint = excluded.fingerprint, status = excluded.status, headers = excluded.headers, body = excluded.body,
          expires_at = excluded.expires_at
      where k.expires_at <= pg_catalog.clock_timestamp();
  if not found then
    -- The claim could not see the other one's row: this transaction reads from an older snapshot.
    raise exception using errcode = 'IBK01', message = 'the idempotency key was used';
  end if;
  return true;
end
$$;

-- Pairs and secrets that sign users' tokens, from standby to revoked. Private parts are sealed under the project's JWT secret.
create table if not exists isobase.signing_keys (
  kid text primary key check (kid <> ''),
  algorithm text not null,
  status text not null check (status in ('standby', 'in_use', 'previously_used', 'revoked')),
  signs_for text not null default 'all' check (signs_for in ('all', 'simple')),
  public_jwk jsonb,
  sealed_jwk bytea,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  constraint signing_keys_sealed_until_revoked check ((sealed_jwk is null) = (status = 'revoked'))
);
comment on table isobase.signing_keys is 'Keys that sign access tokens (isobase keys list); private parts are encrypted, and deleted when a key is revoked.';
create unique index if not exists signing_keys_one_standby_idx on isobase.signing_keys (status) where status = 'standby';
create unique index if not exists signing_keys_one_in_use_idx on isobase.signing_keys (signs_for) where status = 'in_use';

-- What auth keeps beside a code in auth.one_time_tokens, whose columns are upstream's: the salt that keeps who knows an address from
-- working out the hash of every code, how often the code was guessed at, and whether who proves to own the address must set a new password
-- because somebody else may have chosen the one that is there.
create table if not exists isobase.one_time_codes (
  user_id uuid not null references auth.users (id) on delete cascade,
  token_type text not null,
  token_id uuid not null,
  salt bytea not null,
  tries smallint not null default 0,
  resets_password boolean not null default false,
  primary key (user_id, token_type)
);
comment on table isobase.one_time_codes is 'Salt and wrong tries of the codes in auth.one_time_tokens.';

-- Resumable uploads (TUS) on their way: what is acknowledged, and who is writing. The id is the version of the object that the upload
-- becomes. `metadata` is Upload-Metadata as JSON pairs. `offset_bytes` is durable; the last bytes count only when the object's row is there,
-- so an upload is finished exactly when `finished_at` is set. `lease` is the token of the one request that may write; it renews the lease,
-- and others ask it to let go by `release_asked`. `last_part` is the highest part number that a writer may have used.
create table if not exists isobase.resumable_uploads (
  id uuid primary key,
  bucket_id text not null,
  name text not null,
  size_bytes bigint check (size_bytes >= 0),
  offset_bytes bigint not null default 0 check (offset_bytes >= 0),
  metadata text not null,
  parts_upload text,
  last_part integer not null default 0,
  lease uuid,
  lease_until timestamptz,
  release_asked boolean not null default false,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  finished_at timestamptz
);
comment on table isobase.resumable_uploads is 'Resumable uploads (TUS) that are not finished, or were of late.';
create index if not exists resumable_uploads_expires_at_idx on isobase.resumable_uploads (expires_at);
create index if not exists resumable_uploads_lease_idx on isobase.resumable_uploads (lease) where lease is not null;

-- What an upload consists of where the blob store takes parts only (S3): parts that are there, and behind them the bytes that are fewer than
-- the store's smallest part.
create table if not exists isobase.resumable_pieces (
  upload_id uuid not null references isobase.resumable_uploads (id) on delete cascade,
  first_byte bigint not null,
  size_bytes bigint not null,
  part_number integer,
  etag text,
  content bytea,
  primary key (upload_id, first_byte),
  constraint resumable_pieces_are_here_or_there check ((part_number is null) = (content is not null))
);
alter table isobase.resumable_pieces alter column content set storage external;
comment on table isobase.resumable_pieces is 'Parts of resumable uploads in the blob store, and the bytes that wait to become one.';

-- Uploads that the simple face announced and whose bytes go to the blob store directly. `version` names bytes that no row of storage.objects
-- names and nobody can read; complete copies them to the object's own version and sets `object_id`. `etag` is known where the bytes passed
-- through this server.
create table if not exists isobase.direct_uploads (
  id uuid primary key,
  kind text not null,
  bucket_id text not null,
  name text not null,
  owner_id text not null,
  mime_type text not null,
  size_bytes bigint not null check (size_bytes >= 0),
  cache_control text not null,
  is_upsert boolean not null,
  version text,
  etag text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  completed_at timestamptz,
  object_id uuid,
  constraint direct_uploads_complete_with_object check ((completed_at is null) = (object_id is null))
);
comment on table isobase.direct_uploads is 'Direct uploads of the simple face that are not complete, or were of late.';
create index if not exists direct_uploads_expires_at_idx on isobase.direct_uploads (expires_at);

-- Databases made at run time: each is a PostgreSQL schema, its tables are real tables with row security on from birth. `owner` is who made
-- it and whose quota it counts to; who may do what stands in isobase.members. A deleted user's databases have no owner left here.
create table if not exists isobase.databases (
  id uuid primary key default gen_random_uuid(),
  name text not null check (char_length(name) between 1 and 63),
  schema_name text not null unique check (schema_name ~ '^[a-z_][a-z0-9_]{0,62}$'),
  owner uuid references auth.users (id) on delete set null,
  created_at timestamptz not null default now(),
  unique (owner, name)
);
create table if not exists isobase.tables (
  id uuid primary key default gen_random_uuid(),
  database_id uuid not null references isobase.databases (id) on delete cascade,
  name text not null check (char_length(name) between 1 and 63),
  access text not null default 'private' check (access in ('private', 'members', 'public-read', 'public', 'custom')),
  created_at timestamptz not null default now(),
  unique (database_id, name)
);
create table if not exists isobase.members (
  database_id uuid not null references isobase.databases (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade,
  role text not null default 'reader' check (role in ('owner', 'editor', 'reader')),
  created_at timestamptz not null default now(),
  primary key (database_id, user_id)
);
create index if not exists members_user_id_idx on isobase.members (user_id);

-- What the caller is in a database made at run time: owner, editor, reader, or null. Policies of its tables ask; as a definer's function,
-- because a policy of isobase.members asks too and must not ask itself.
create or replace function isobase.database_role(database_id uuid) returns text
  language sql stable security definer set search_path = '' as $$
  select m.role from isobase.members as m where m.database_id = database_role.database_id and m.user_id = auth.uid()
$$;

-- Who is in a database sees it and its members; its owners alone name, change and remove members, and everybody may leave. Definitions are
-- changed by the service on behalf of owners and editors.
alter table isobase.databases enable row level security;
alter table isobase.tables enable row level security;
alter table isobase.members enable row level security;
drop policy if exists "members see it" on isobase.databases;
create policy "members see it" on isobase.databases for select to authenticated
  using (id in (select m.database_id from isobase.members as m where m.user_id = (select auth.uid())));
drop policy if exists "members see them" on isobase.tables;
create policy "members see them" on isobase.tables for select to authenticated
  using (database_id in (select m.database_id from isobase.members as m where m.user_id = (select auth.uid())));
drop policy if exists "members see each other" on isobase.members;
create policy "members see each other" on isobase.members for select to authenticated
  using (user_id = (select auth.uid()) or isobase.database_role(database_id) is not null);
drop policy if exists "owners add" on isobase.members;
create policy "owners add" on isobase.members for insert to authenticated
  with check (isobase.database_role(database_id) = 'owner');
drop policy if exists "owners change" on isobase.members;
create policy "owners change" on isobase.members for update to authenticated
  using (isobase.database_role(database_id) = 'owner') with check (isobase.database_role(database_id) = 'owner');
drop policy if exists "owners remove and members leave" on isobase.members;
create policy "owners remove and members leave" on isobase.members for delete to authenticated
  using (user_id = (select auth.uid()) or isobase.database_role(database_id) = 'owner');
do $service$
declare
  name text;
begin
  -- service_role needs these where the server gives it no BYPASSRLS.
  foreach name in array array['databases', 'tables', 'members'] loop
    execute pg_catalog.format('drop policy if exists isobase_service_role on isobase.%I', name);
    execute pg_catalog.format('create policy isobase_service_role on isobase.%I to service_role using (true) with check (true)', name);
  end loop;
end
$service$;

-- The last owner of a database stays. Not where the database or the user's account itself goes.
create or replace function isobase.keep_an_owner() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  -- Two owners who leave at once must not both see the other one stay.
  perform from isobase.databases as d where d.id = old.database_id for update;
  if found
     and exists (select from auth.users as u where u.id = old.user_id)
     and not exists (select from isobase.members as m where m.database_id = old.database_id and m.role = 'owner') then
    raise exception 'a database keeps at least one owner' using errcode = 'check_violation', constraint = 'database_keeps_an_owner';
  end if;
  return null;
end
$$;
drop trigger if exists keep_an_owner on isobase.members;
create constraint trigger keep_an_owner after update or delete on isobase.members
  for each row when (old.role = 'owner') execute function isobase.keep_an_owner();

-- The trigger of tables whose rows a member may change though another one made them: who made a row stays.
create or replace function isobase.refuse_new_row_owner() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception 'the owner of a row cannot be changed' using errcode = 'insufficient_privilege';
end
$$;

-- Rooms of the simple face (/realtime): who is in them, what was said, who has read how far. A person is the `sub` of a token, as text:
-- third-party issuers have users that auth.users does not know. Everything is reached under the policies below, by the face's own
-- statements as by views that a project makes (docs/realtime-rooms.md).
create table if not exists isobase.rooms (
  id text primary key default '~' || gen_random_uuid() constraint rooms_id_form check (id ~ '^[A-Za-z0-9_.:@~-]{1,128}$'),
  name text constraint rooms_name_length check (char_length(name) <= 200),
  is_public boolean not null default false,
  metadata jsonb not null default '{}'
    constraint rooms_metadata_form check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 16384),
  created_by text,
  created_at timestamptz not null default now(),
  last_seq bigint not null default 0,
  last_message_at timestamptz
) with (fillfactor = 70);
create table if not exists isobase.room_members (
  room_id text not null references isobase.rooms (id) on delete cascade,
  user_id text not null constraint room_members_user_length check (char_length(user_id) between 1 and 255),
  role text not null default 'member' constraint room_members_role check (role in ('owner', 'member')),
  created_at timestamptz not null default now(),
  primary key (room_id, user_id)
);
create index if not exists room_members_user_id_idx on isobase.room_members (user_id);
create table if not exists isobase.room_messages (
  room_id text not null references isobase.rooms (id) on delete cascade,
  seq bigint not null,
  id uuid not null default gen_random_uuid(),
  sender text,
  body jsonb not null constraint room_messages_body_size check (octet_length(body::text) <= 262144),
  client_id text constraint room_messages_client_id_length check (char_length(client_id) between 1 and 128),
  created_at timestamptz not null default now(),
  primary key (room_id, seq)
);
create index if not exists room_messages_created_at_idx on isobase.room_messages (room_id, created_at, seq);
create unique index if not exists room_messages_client_id_idx on isobase.room_messages (room_id, coalesce(sender, ''), client_id)
  where client_id is not null;
create table if not exists isobase.room_reads (
  room_id text not null references isobase.rooms (id) on delete cascade,
  user_id text not null,
  last_read_seq bigint not null,
  updated_at timestamptz not null default now(),
  primary key (room_id, user_id)
);
create index if not exists room_reads_user_id_idx on isobase.room_reads (user_id);
alter table isobase.rooms alter column id set default '~' || gen_random_uuid();
comment on table isobase.rooms is 'Rooms of the simple realtime face. last_seq is the number of the newest message.';
comment on table isobase.room_members is 'Who is in a room. Public rooms are open to every signed-in user beside.';
comment on table isobase.room_messages is 'What was said in rooms; seq counts within a room, in the order of the commits.';
comment on table isobase.room_reads is 'How far each person has read in each room.';

-- The person that the caller is: the token's `sub`, null for keys without one.
create or replace function isobase.caller_id() returns text language sql stable set search_path = '' as $$
  select nullif(auth.jwt() ->> 'sub', '')
$$;

-- What the caller is in a room: owner, member, guest (of a public room), or null. A definer's function, because the policy of
-- isobase.room_members asks too and must not ask itself.
create or replace function isobase.room_role(room_id text) returns text
  language sql stable security definer set search_path = '' as $$
  select coalesce(
    (select m.role from isobase.room_members as m where m.room_id = room_role.room_id and m.user_id = isobase.caller_id()),
    (select 'guest' from isobase.rooms as r where r.id = room_role.room_id and r.is_public and isobase.caller_id() is not null))
$$;

-- Whether the caller may read on a channel called room:ID. Where there is no such room, the project's own policies decide alone.
create or replace function isobase.may_read_room_topic(topic text) returns boolean
  language sql stable security definer set search_path = '' as $$
  select isobase.room_role(substr(topic, 6)) is not null
      or not exists (select from isobase.rooms as r where r.id = substr(topic, 6))
$$;

-- Whether the caller may send on it. The events by which the database tells of a room come from the database alone.
create or replace function isobase.may_write_room_topic(topic text, event text) returns boolean
  language sql stable security definer set search_path = '' as $$
  select isobase.room_role(substr(topic, 6)) is not null and coalesce(event not in ('message', 'member', 'room', 'read', 'typing'), true)
      or not exists (select from isobase.rooms as r where r.id = substr(topic, 6))
$$;

-- Whether a user may make a room of this id. A room opens the private channel room:ID to its members and closes it to all others: where
-- a project has policies of its own on realtime.messages, room:ID may be a channel of its own, and is not to be had by making a room.
-- A definer's function, because users need no rights on the schema realtime.
create or replace function isobase.may_name_room(room_id text) returns boolean
  language sql stable security definer set search_path = '' as $$
  select room_id like '~%'
      or not exists (select from pg_catalog.pg_policy as p
                      where p.polrelid = 'realtime.messages'::pg_catalog.regclass and p.polname not like 'isobase\_%')
$$;

-- A time as all faces show it.
create or replace function isobase.iso_time(moment timestamptz) returns text language sql stable set search_path = '' as $$
  select pg_catalog.to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

-- A message as all faces show it.
create or replace function isobase.room_message_json(message isobase.room_messages) returns jsonb
  language sql stable set search_path = '' as $$
  select pg_catalog.jsonb_build_object(
    'id', message.id, 'roomId', message.room_id, 'seq', message.seq, 'sender', message.sender, 'message', message.body,
    'clientId', message.client_id,
    'createdAt', isobase.iso_time(message.created_at))
$$;

-- Tells the channel room:ID, as part of the transaction that changed something: the write-ahead log carries it to every process in the
-- order of the commits, also where the process that committed dies next.
create or replace function isobase.tell_room(room_id text, event text, payload jsonb, message_id uuid default gen_random_uuid())
returns void language plpgsql security definer set search_path = '' as $$
begin
  begin
    insert into realtime.messages (id, payload, event, topic, private, extension)
    values (message_id, payload, event, 'room:' || room_id, true, 'broadcast');
  exception when check_violation then
    -- No partition for this day: nobody made it, because no service has run for days.
    perform realtime.ensure_partitions();
    insert into realtime.messages (id, payload, event, topic, private, extension)
    values (message_id, payload, event, 'room:' || room_id, true, 'broadcast');
  end;
end
$$;

-- Gives a message its number. The room's row is locked until the commit, so numbers have the order of the commits: who has seen a
-- number misses none below it. A message that its sender has sent before (client_id) is left out.
create or replace function isobase.number_room_message() returns trigger
  language plpgsql security definer set search_path = '' as $$
begin
  -- Before the lock: nobody holds up a room that is not open to him.
  if pg_catalog.current_setting('role') = 'authenticated' and isobase.room_role(new.room_id) is null then
    raise exception 'the room is not open to the caller' using errcode = 'insufficient_privilege';
  end if;
  if new.client_id is not null then
    perform from isobase.rooms as r where r.id = new.room_id for no key update;
    if exists (select from isobase.room_messages as m
                where m.room_id = new.room_id and coalesce(m.sender, '') = coalesce(new.sender, '') and m.client_id = new.client_id) then
      return null;
    end if;
  end if;
  update isobase.rooms as r set last_seq = r.last_seq + 1, last_message_at = pg_catalog.clock_timestamp()
   where r.id = new.room_id
  returning r.last_seq, r.last_message_at into new.seq, new.created_at;
  if not found then
    raise exception 'there is no such room' using errcode = 'foreign_key_violation', constraint = 'room_messages_room_id_fkey';
  end if;
  return new;
end
$$;
drop trigger if exists number_room_message on isobase.room_messages;
create trigger number_room_message before insert on isobase.room_messages
  for each row execute function isobase.number_room_message();

-- Tells of a message, and notes that its sender has read up to it.
create or replace function isobase.tell_room_message() returns trigger
  language plpgsql security definer set search_path = '' as $$
begin
  perform isobase.tell_room(new.room_id, 'message', isobase.room_message_json(new), new.id);
  if new.sender is not null then
    insert into isobase.room_reads as d (room_id, user_id, last_read_seq) values (new.room_id, new.sender, new.seq)
    on conflict (room_id, user_id) do update set last_read_seq = excluded.last_read_seq, updated_at = excluded.updated_at
     where d.last_read_seq < excluded.last_read_seq;
  end if;
  return null;
end
$$;
drop trigger if exists tell_room_message on isobase.room_messages;
create trigger tell_room_message after insert on isobase.room_messages
  for each row execute function isobase.tell_room_message();

-- Tells of a room that was made, changed or deleted; who made it owns it.
create or replace function isobase.tell_room_change() returns trigger
  language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    perform isobase.tell_room(old.id, 'room', pg_catalog.jsonb_build_object('roomId', old.id, 'change', 'deleted'));
    return null;
  end if;
  perform isobase.tell_room(new.id, 'room', pg_catalog.jsonb_build_object(
    'roomId', new.id, 'change', case tg_op when 'INSERT' then 'created' else 'updated' end,
    'name', new.name, 'public', new.is_public, 'metadata', new.metadata,
    'closed', tg_op = 'UPDATE' and old.is_public and not new.is_public));
  if tg_op = 'INSERT' and new.created_by is not null then
    insert into isobase.room_members (room_id, user_id, role) values (new.id, new.created_by, 'owner') on conflict do nothing;
  end if;
  return null;
end
$$;
drop trigger if exists tell_room_change on isobase.rooms;
create trigger tell_room_change after insert or update of name, is_public, metadata or delete on isobase.rooms
  for each row execute function isobase.tell_room_change();

-- Tells of members who come, go or change their role. Who comes has read what was said before.
create or replace function isobase.tell_room_member() returns trigger
  language plpgsql security definer set search_path = '' as $$
declare
  changed constant isobase.room_members not null := coalesce(new, old);
begin
  -- Not where the whole room goes.
  if not exists (select from isobase.rooms as r where r.id = changed.room_id) then
    return null;
  end if;
  perform isobase.tell_room(changed.room_id, 'member', pg_catalog.jsonb_build_object(
    'roomId', changed.room_id, 'user', changed.user_id,
    'change', case tg_op when 'INSERT' then 'added' when 'DELETE' then 'removed' else 'role' end,
    'role', case tg_op when 'DELETE' then null else changed.role end));
  if tg_op = 'INSERT' then
    insert into isobase.room_reads (room_id, user_id, last_read_seq)
    select r.id, new.user_id, r.last_seq from isobase.rooms as r where r.id = new.room_id
    on conflict do nothing;
  end if;
  return null;
end
$$;
drop trigger if exists tell_room_member on isobase.room_members;
create trigger tell_room_member after insert or update or delete on isobase.room_members
  for each row execute function isobase.tell_room_member();

-- The last owner of a room stays, unless the room or the account goes.
create or replace function isobase.keep_a_room_owner() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  perform from isobase.rooms as r where r.id = old.room_id for update;
  if found
     and coalesce(pg_catalog.current_setting('isobase.forgets_user', true), '') <> old.user_id
     and not exists (select from isobase.room_members as m where m.room_id = old.room_id and m.role = 'owner') then
    raise exception 'a room keeps at least one owner' using errcode = 'check_violation', constraint = 'room_keeps_an_owner';
  end if;
  return null;
end
$$;
drop trigger if exists keep_a_room_owner on isobase.room_members;
create constraint trigger keep_a_room_owner after update or delete on isobase.room_members
  for each row when (old.role = 'owner') execute function isobase.keep_a_room_owner();

-- An account that is deleted leaves its rooms; what it said stays.
create or replace function isobase.forget_room_user() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  perform pg_catalog.set_config('isobase.forgets_user', old.id::text, true);
  delete from isobase.room_members where user_id = old.id::text;
  delete from isobase.room_reads where user_id = old.id::text;
  return null;
end
$$;

alter table isobase.rooms enable row level security;
alter table isobase.room_members enable row level security;
alter table isobase.room_messages enable row level security;
alter table isobase.room_reads enable row level security;
drop policy if exists "members and everybody of public ones see it" on isobase.rooms;
create policy "members and everybody of public ones see it" on isobase.rooms for select to authenticated
  using (is_public and (select isobase.caller_id()) is not null
         or id in (select m.room_id from isobase.room_members as m where m.user_id = (select isobase.caller_id())));
drop policy if exists "users make their own" on isobase.rooms;
create policy "users make their own" on isobase.rooms for insert to authenticated
  with check (created_by = (select isobase.caller_id()) and isobase.may_name_room(id));
drop policy if exists "owners change it" on isobase.rooms;
create policy "owners change it" on isobase.rooms for update to authenticated
  using (isobase.room_role(id) = 'owner') with check (isobase.room_role(id) = 'owner');
drop policy if exists "owners delete it" on isobase.rooms;
create policy "owners delete it" on isobase.rooms for delete to authenticated using (isobase.room_role(id) = 'owner');
drop policy if exists "members see each other" on isobase.room_members;
create policy "members see each other" on isobase.room_members for select to authenticated
  using (user_id = (select isobase.caller_id()) or isobase.room_role(room_id) is not null);
drop policy if exists "owners add, and users come to public rooms" on isobase.room_members;
create policy "owners add, and users come to public rooms" on isobase.room_members for insert to authenticated
  with check (isobase.room_role(room_id) = 'owner'
              or isobase.room_role(room_id) = 'guest' and user_id = (select isobase.caller_id()) and role = 'member');
drop policy if exists "owners change roles" on isobase.room_members;
create policy "owners change roles" on isobase.room_members for update to authenticated
  using (isobase.room_role(room_id) = 'owner') with check (isobase.room_role(room_id) = 'owner');
drop policy if exists "owners remove and members leave" on isobase.room_members;
create policy "owners remove and members leave" on isobase.room_members for delete to authenticated
  using (user_id = (select isobase.caller_id()) or isobase.room_role(room_id) = 'owner');
drop policy if exists "members read" on isobase.room_messages;
create policy "members read" on isobase.room_messages for select to authenticated using (isobase.room_role(room_id) is not null);
drop policy if exists "members write" on isobase.room_messages;
create policy "members write" on isobase.room_messages for insert to authenticated
  with check (sender = (select isobase.caller_id()) and isobase.room_role(room_id) is not null);
drop policy if exists "members see who has read" on isobase.room_reads;
create policy "members see who has read" on isobase.room_reads for select to authenticated using (isobase.room_role(room_id) is not null);
drop policy if exists "members note their own" on isobase.room_reads;
create policy "members note their own" on isobase.room_reads for insert to authenticated
  with check (user_id = (select isobase.caller_id()) and isobase.room_role(room_id) is not null);
drop policy if exists "members advance their own" on isobase.room_reads;
create policy "members advance their own" on isobase.room_reads for update to authenticated
  using (user_id = (select isobase.caller_id()) and isobase.room_role(room_id) is not null)
  with check (user_id = (select isobase.caller_id()) and isobase.room_role(room_id) is not null);
do $service$
declare
  name text;
begin
  foreach name in array array['rooms', 'room_members', 'room_messages', 'room_reads'] loop
    execute pg_catalog.format('drop policy if exists isobase_service_role on isobase.%I', name);
    execute pg_catalog.format('create policy isobase_service_role on isobase.%I to service_role using (true) with check (true)', name);
  end loop;
end
$service$;
alter table isobase.rooms alter column created_by set default isobase.caller_id();
alter table isobase.room_messages alter column sender set default isobase.caller_id();
alter table isobase.room_reads alter column user_id set default isobase.caller_id();

-- What the SQL stand-ins of the embedded server lack: one row per installed stand-in. No row where the real extensions are.
create or replace function isobase.extension_gaps() returns table (extension text, missing text) language sql stable as $$
  select e.extname::text, substring(d.description from 'Missing: (.*)$')
    from pg_catalog.pg_extension as e
    join pg_catalog.pg_description as d on d.objoid = e.oid and d.classoid = 'pg_catalog.pg_extension'::pg_catalog.regclass
   where d.description like 'Isobase stand-in%'
   order by e.extname
$$;

-- The same question for many callers of one role in one round trip, each with its own settings (claims). Every caller's turn is a subtransaction
-- that is rolled back: nothing of it, no setting and no error, reaches the next one. The question is a prepared statement of this session, as
-- EXECUTE with a text would be planned anew for each caller. Only the login role may call it: it takes on whom it is told to.
-- Not with "set search_path": policies' functions find unqualified names by the caller's path.
create or replace function isobase.ask_for_each(
  role_name text, names text[], settings text[], callers integer, question_name text, question text, parameters text[]
) returns table (caller integer, answer text, error_code text, error_message text) language plpgsql as $$
declare
  width constant integer := pg_catalog.cardinality(names);
  kept constant integer := 64;
  preparation constant text := pg_catalog.format('prepare %I as %s', question_name, question);
  old_name text;
  execution text;
  found_answer text;
  is_answered boolean;
begin
  -- By its text too: a function that runs what it is given may have prepared another statement under this name.
  if not exists (select from pg_catalog.pg_prepared_statements as p where p.name = question_name and p.statement = preparation) then
    for old_name in
      select p.name from pg_catalog.pg_prepared_statements as p
       where p.name = question_name
          or p.name like 'isobase\_question\_%'
             and (select pg_catalog.count(*) from pg_catalog.pg_prepared_statements as q where q.name like 'isobase\_question\_%') >= kept
    loop
      execute pg_catalog.format('deallocate %I', old_name);
    end loop;
    -- By the callers' role, as the login role has no use of any schema. An error ends everything.
    perform pg_catalog.set_config('role', role_name, true);
    execute preparation;
    perform pg_catalog.set_config('role', 'none', true);
  end if;
  select pg_catalog.format('execute %I', question_name)
         || coalesce('(' || pg_catalog.string_agg(pg_catalog.quote_nullable(p.value), ', ' order by p.place) || ')', '')
    into execution from pg_catalog.unnest(parameters) with ordinality as p (value, place);
  for number in 1 .. callers loop
    is_answered := false;
    begin
      for place in 1 .. width loop
        perform pg_catalog.set_config(names[place], settings[(number - 1) * width + place], true);
      end loop;
      perform pg_catalog.set_config('role', role_name, true);
      found_answer := null;
      execute execution into found_answer;
      is_answered := true;
      raise exception 'rolled back';
    exception when others or assert_failure then
      if not is_answered then
        caller := number; answer := null; error_code := sqlstate; error_message := sqlerrm;
        return next;
      elsif found_answer is not null then
        caller := number; answer := found_answer; error_code := null; error_message := null;
        return next;
      end if;
    end;
  end loop;
end
$$;

-- Where the server lets us give no BYPASSRLS (managed PostgreSQL), service_role and postgres get a policy instead on every table with
-- row security; service_role none in auth, where it has no business. Call it again after migrations made tables. Returns the
-- number of policies made; 0 where BYPASSRLS is there.
create or replace function isobase.open_tables_to_service_role() returns integer language plpgsql as $$
declare
  target record;
  made integer := 0;
begin
  for target in
    select n.nspname as schema_name, c.relname as table_name,
           pg_catalog.string_agg(pg_catalog.quote_ident(r.rolname), ', ' order by r.rolname) as roles
      from pg_catalog.pg_class as c
      join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
      join pg_catalog.pg_roles as r on r.rolname in ('service_role', 'postgres') and not r.rolbypassrls and not r.rolsuper
     where c.relrowsecurity and c.relkind in ('r', 'p') and not c.relispartition
       and n.nspname not in ('pg_catalog', 'information_schema', 'isobase')
       and (n.nspname <> 'auth' or r.rolname <> 'service_role')
       and pg_catalog.pg_has_role(c.relowner, 'USAGE')
       and not exists (select from pg_catalog.pg_policy as p where p.polrelid = c.oid and p.polname = 'isobase_service_role')
     group by n.nspname, c.relname
  loop
    execute pg_catalog.format('create policy isobase_service_role on %I.%I to %s using (true) with check (true)',
                              target.schema_name, target.table_name, target.roles);
    made := made + 1;
  end loop;
  return made;
end
$$;
-- The move from Supabase (isobase_adapter; docs/migration.md). Operators and adapters log in as postgres, which may use these tables; no role
-- of the API may. One row of migration_state numbers the changes of flags, writers and rules in the order of their commits, so that who has
-- seen number N has seen all up to N; everybody who listens on isobase_migration is told the number.
create table if not exists isobase.migration_state (
  is_only boolean primary key default true check (is_only),
  version bigint not null default 0
);
insert into isobase.migration_state default values on conflict do nothing;
comment on table isobase.migration_state is 'The number of the last change of flags, writers and rules; one row.';

create table if not exists isobase.flags (
  pattern text primary key,
  stage text not null check (stage in ('off', 'dual_write', 'shadow_read', 'live', 'ramp_down', 'complete')),
  before text not null check (before in ('off', 'dual_write', 'shadow_read', 'live', 'ramp_down', 'complete')),
  share_percent double precision not null default 100 check (share_percent between 0 and 100),
  users text[] not null default '{}',
  version bigint not null default 0,
  changed_by text not null default session_user,
  reason text not null default '',
  changed_at timestamptz not null default now()
);
comment on table isobase.flags is 'The stage of each capability or pattern; users outside share_percent and users are in the stage before.';

create table if not exists isobase.flag_history (
  id bigint generated always as identity primary key,
  pattern text not null,
  version bigint not null,
  stage text not null,
  before text not null,
  share_percent double precision not null,
  users text[] not null,
  was_stage text,
  was_share_percent double precision,
  changed_by text not null,
  reason text not null,
  changed_at timestamptz not null default now()
);
comment on table isobase.flag_history is 'Every change of a flag: what, who and why.';
create index if not exists flag_history_pattern_idx on isobase.flag_history (pattern, id);

create table if not exists isobase.writers (
  pattern text primary key,
  side text not null default 'supabase' check (side in ('supabase', 'isobase')),
  epoch bigint not null default 0,
  handing_over_to text check (handing_over_to in ('supabase', 'isobase')),
  handing_over_since timestamptz,
  handing_over_by text,
  handover jsonb not null default '{}',
  changed_at timestamptz not null default now(),
  check (handing_over_to is distinct from side)
);
comment on table isobase.writers is 'The side that is written first, for everybody; epoch grows with each change. No write is let in while handing_over_to is set.';

create table if not exists isobase.migration_rules (
  pattern text not null,
  name text not null,
  value jsonb not null,
  version bigint not null default 0,
  changed_by text not null default session_user,
  changed_at timestamptz not null default now(),
  primary key (pattern, name)
);
comment on table isobase.migration_rules is 'Settings of a pattern that operators change while clients run: columns not compared, sampling, rules for functions.';

create table if not exists isobase.outbox (
  id bigserial primary key,
  state text not null default 'intent' check (state in ('intent', 'pending', 'dead')),
  capability text not null,
  target text not null check (target in ('supabase', 'isobase')),
  epoch bigint not null default 0,
  thing jsonb,
  things jsonb,
  lock_number bigint,
  call jsonb not null default '{}',
  attempts integer not null default 0,
  next_at timestamptz not null default now(),
  lease_until timestamptz,
  client uuid,
  error text,
  before_hash text,
  is_conflict boolean not null default false,
  versions jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (thing is not null or state = 'intent')
);
alter table isobase.outbox add column if not exists is_conflict boolean not null default false;
-- When the client of a write gave it up without an answer.
alter table isobase.outbox add column if not exists doubted_at timestamptz;
-- What an operator has a dead letter carry otherwise: columns to leave out, values to lay over the source's row.
alter table isobase.outbox add column if not exists edit jsonb;
comment on table isobase.outbox is 'Writes that one side does not have yet. An intent was let in and names what it may change (thing, or things); an item is carried to target; a dead one waits for an operator, versions holds both sides'' of a conflict.';
create index if not exists outbox_due_idx on isobase.outbox (next_at, id) where state = 'pending';
create index if not exists outbox_dead_idx on isobase.outbox (target) where state = 'dead';
create index if not exists outbox_lease_idx on isobase.outbox (lease_until) where state = 'intent';
create index if not exists outbox_lock_number_idx on isobase.outbox (lock_number, target);
create index if not exists outbox_target_idx on isobase.outbox (target, capability);
drop index if exists isobase.outbox_capability_idx;
-- Rows live for milliseconds: dead ones are swept by number, not by share.
alter table isobase.outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000);

create table if not exists isobase.mismatches (
  id bigint generated always as identity primary key,
  capability text not null,
  is_noise boolean not null default false,
  fingerprint text not null,
  cause jsonb not null,
  occurrences bigint not null default 0,
  samples jsonb not null default '[]',
  first_at timestamptz not null default now(),
  last_at timestamptz not null default now(),
  explained text,
  explained_by text,
  explained_at timestamptz,
  unique (capability, is_noise, fingerprint)
);
comment on table isobase.mismatches is 'Differences between both sides'' answers, grouped by cause, with a few samples. is_noise: found by asking one side twice.';

create table if not exists isobase.migration_counters (
  capability text not null,
  minute timestamptz not null,
  name text not null,
  value bigint not null default 0,
  primary key (capability, minute, name)
);
comment on table isobase.migration_counters is 'What clients counted per capability and minute: calls, compared, mismatched, fallbacks ...';
create index if not exists migration_counters_minute_idx on isobase.migration_counters (minute);

create table if not exists isobase.migration_clients (
  id uuid primary key,
  name text not null,
  host text not null,
  pid integer not null,
  started_at timestamptz not null default now(),
  seen_at timestamptz not null default now(),
  version bigint not null default 0,
  spooled bigint not null default 0,
  state jsonb not null default '{}'
);
comment on table isobase.migration_clients is 'Adapters that run, or ended without saying so: version is the number of the change that each acts upon, spooled its writes that are not in the outbox yet.';

create table if not exists isobase.migration_events (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  name text not null,
  capability text not null default '',
  client uuid,
  detail jsonb not null default '{}'
);
comment on table isobase.migration_events is 'What operators want to know of: fallbacks, handovers, dead letters; the newest ten thousand.';

create table if not exists isobase.migration_jobs (
  job text not null,
  part text not null default '',
  state jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (job, part)
);
comment on table isobase.migration_jobs is 'How far copying, syncing and verifying have come, so that they go on where they were ended.';

create table if not exists isobase.migration_auth (
  relation text not null,
  key text not null,
  user_id uuid not null,
  digest text,
  is_pending boolean not null default false,
  pending text,
  primary key (relation, key)
);
create index if not exists migration_auth_user_id_idx on isobase.migration_auth (user_id);
comment on table isobase.migration_auth is 'What both sides last had of each row of a user (a digest, null for none), so that a change on one side is told from a row that only one side has. pending: what one side was just being made.';

create or replace function isobase.number_migration_change() returns trigger language plpgsql set search_path = '' as $$
begin
  if tg_table_name = 'writers' then
    -- Writes are let in under this lock, shared (isobase.begin_write): those before are in the outbox, those after see the change.
    perform pg_catalog.pg_advisory_xact_lock(29681794783736677);
  end if;
  -- Holding the row until the commit puts changes in one order.
  update isobase.migration_state set version = version + 1;
  if tg_op = 'DELETE' then
    return old;
  end if;
  if tg_table_name <> 'writers' then
    select s.version into new.version from isobase.migration_state as s;
  end if;
  new.changed_at := pg_catalog.now();
  return new;
end
$$;

-- Lets a write in that goes to the other side of target first: 'in' with the number of its intent; 'moved' when its writer is another one or is
-- being handed over; 'behind' when something of the same key, or a whole resource, must still be carried the other way. over_conflicts: do not
-- wait for that: what stands in the way becomes a dead letter. is_queued: a dead letter of the other direction waits for an operator.
-- Several statements, as each must see what was committed before the lock was had.
create or replace function isobase.begin_write(
  capability text, target text, epoch bigint, things jsonb, lock_numbers bigint[], has_whole boolean, call jsonb, lease_s double precision,
  client uuid, over_conflicts boolean, out verdict text, out id bigint, out is_queued boolean
) language plpgsql set search_path = '' as $$
#variable_conflict use_variable
declare
  writer record;
  is_behind boolean;
begin
  perform pg_catalog.pg_advisory_xact_lock_shared(29681794783736677);
  is_queued := false;
  select w.side, w.epoch, w.handing_over_to into writer from isobase.writers as w
   where w.pattern = capability
      or pg_catalog.right(w.pattern, 1) = '*' and pg_catalog.starts_with(capability, pg_catalog.left(w.pattern, -1))
   order by w.pattern = capability desc, pg_catalog.length(w.pattern) desc limit 1;
  if found and (writer.handing_over_to is not null or writer.epoch <> epoch or writer.side = target)
     or not found and (epoch <> 0 or target = 'supabase') then
    verdict := 'moved';
    return;
  end if;
  -- What must go the other way, after a failover: it names the same key, or one of the two names a whole resource.
  select pg_catalog.bool_or(o.state <> 'dead' and o.next_at < 'infinity'), pg_catalog.bool_or(o.state <> 'intent') into is_behind, is_queued
    from isobase.outbox as o
   where o.target = case target when 'isobase' then 'supabase' else 'isobase' end
     and (o.lock_number = any(lock_numbers)
          or (o.capability = capability or o.thing ->> 'resource' in (select t ->> 'resource' from pg_catalog.jsonb_array_elements(things) as t))
             and (has_whole or o.thing is null or o.thing ->> 'kind' in ('table', 'users', 'objects')));
  is_queued := coalesce(is_queued, false);
  if is_behind and not over_conflicts then
    verdict := 'behind';
    return;
  elsif is_behind then
    -- The same key: two versions, for an operator. A whole: it waits until the writer comes back, and no write is on its way.
    update isobase.outbox as o
       set state = case when o.lock_number = any(lock_numbers) then 'dead' else o.state end,
           is_conflict = o.is_conflict or o.lock_number = any(lock_numbers),
           error = case when o.lock_number = any(lock_numbers) then 'written at both sides' else 'waits for the next handover' end,
           next_at = 'infinity', updated_at = pg_catalog.now()
     where o.state = 'pending' and o.target <> target
       and (o.lock_number = any(lock_numbers)
            or (o.capability = capability or o.thing ->> 'resource' in (select t ->> 'resource' from pg_catalog.jsonb_array_elements(things) as t))
               and (has_whole or o.thing is null or o.thing ->> 'kind' in ('table', 'users', 'objects')));
  end if;
  insert into isobase.outbox as o (state, capability, target, epoch, thing, things, lock_number, call, lease_until, client)
  values ('intent', capability, target, epoch,
          case when pg_catalog.jsonb_array_length(things) = 1 then things -> 0 end,
          case when pg_catalog.jsonb_array_length(things) <> 1 then things end,
          case when pg_catalog.jsonb_array_length(things) = 1 then lock_numbers[1] end,
          call, pg_catalog.now() + pg_catalog.make_interval(secs => lease_s), client)
  returning o.id into id;
  verdict := 'in';
end
$$;

-- Whether a code was sent from here to an address: what is kept of it is salted, so no other server can tell whether a typed code is right.
create or replace function isobase.sent_code_to(address text) returns boolean language sql stable security definer set search_path = '' as $$
  select exists (select from auth.one_time_tokens as t join isobase.one_time_codes as c on c.token_id = t.id
                  where t.relates_to = any(array[pg_catalog.lower(address), pg_catalog.ltrim(address, '+')]) and c.salt <> ''::bytea)
$$;

create or replace function isobase.tell_migration_change() returns trigger language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_notify('isobase_migration', s.version::text) from isobase.migration_state as s;
  return null;
end
$$;

create or replace function isobase.keep_flag_history() returns trigger language plpgsql set search_path = '' as $$
begin
  insert into isobase.flag_history
    (pattern, version, stage, before, share_percent, users, was_stage, was_share_percent, changed_by, reason)
  values (new.pattern, new.version, new.stage, new.before, new.share_percent, new.users, old.stage, old.share_percent,
          new.changed_by, new.reason);
  return null;
end
$$;

create or replace function isobase.bound_migration_events() returns trigger language plpgsql set search_path = '' as $$
begin
  delete from isobase.migration_events as e where e.id <= new.id - 10000;
  return null;
end
$$;

do $migration$
declare
  name text;
begin
  foreach name in array array['flags', 'writers', 'migration_rules'] loop
    execute pg_catalog.format('drop trigger if exists number_migration_change on isobase.%I', name);
    execute pg_catalog.format('create trigger number_migration_change before insert or update or delete on isobase.%I '
      || 'for each row execute function isobase.number_migration_change()', name);
    execute pg_catalog.format('drop trigger if exists tell_migration_change on isobase.%I', name);
    execute pg_catalog.format('create trigger tell_migration_change after insert or update or delete on isobase.%I '
      || 'for each statement execute function isobase.tell_migration_change()', name);
  end loop;
  foreach name in array array['migration_state', 'flags', 'flag_history', 'writers', 'migration_rules', 'outbox', 'mismatches',
                              'migration_counters', 'migration_clients', 'migration_events', 'migration_jobs', 'migration_auth'] loop
    execute pg_catalog.format('grant select, insert, update, delete on isobase.%I to postgres', name);
  end loop;
end
$migration$;
drop trigger if exists keep_flag_history on isobase.flags;
create trigger keep_flag_history after insert or update on isobase.flags for each row execute function isobase.keep_flag_history();
drop trigger if exists bound_migration_events on isobase.migration_events;
create trigger bound_migration_events after insert on isobase.migration_events
  for each row when (new.id % 100 = 0) execute function isobase.bound_migration_events();
grant usage on sequence isobase.outbox_id_seq to postgres;
grant execute on function isobase.sent_code_to(text) to postgres;
grant execute on function isobase.begin_write(text, text, bigint, jsonb, bigint[], boolean, jsonb, double precision, uuid, boolean) to postgres;
grant usage on schema isobase to postgres;

revoke all on all tables in schema isobase from public;
revoke all on all routines in schema isobase from public;
grant usage on schema isobase to anon, authenticated, service_role, supabase_auth_admin, supabase_realtime_admin;
-- Where auth takes GoTrue's place it knows no other login: its counters are in the store.
grant select, insert, update, delete on isobase.key_values to supabase_auth_admin;
grant select, insert, update, delete on isobase.one_time_codes to supabase_auth_admin;
grant select, insert, update, delete on isobase.resumable_uploads, isobase.resumable_pieces to service_role;
grant select, insert, update, delete on isobase.direct_uploads to service_role;
grant usage on schema isobase to authenticator;
grant execute on function isobase.ask_for_each(text, text[], text[], integer, text, text, text[]) to authenticator;
grant execute on function isobase.claim_idempotency_key(bytea, bigint),
  isobase.keep_idempotent_answer(bytea, bytea, smallint, text, bytea, integer) to authenticator;
grant execute on function isobase.database_role(uuid) to anon, authenticated, service_role;
grant select on isobase.databases, isobase.tables, isobase.members to authenticated, service_role;
grant insert (database_id, user_id, role), update (role), delete on isobase.members to authenticated, service_role;
grant execute on function isobase.caller_id(), isobase.room_role(text), isobase.may_name_room(text), isobase.may_read_room_topic(text),
  isobase.may_write_room_topic(text, text), isobase.room_message_json(isobase.room_messages),
  isobase.iso_time(timestamptz) to anon, authenticated, service_role;
grant select on isobase.rooms, isobase.room_members, isobase.room_messages, isobase.room_reads to authenticated, service_role;
grant insert (id, name, is_public, metadata), update (name, is_public, metadata), delete on isobase.rooms to authenticated, service_role;
grant insert (room_id, user_id, role), update (role), delete on isobase.room_members to authenticated, service_role;
grant insert (room_id, body, client_id) on isobase.room_messages to authenticated, service_role;
grant insert (room_id, last_read_seq), update (last_read_seq, updated_at) on isobase.room_reads to authenticated;
-- A service speaks for others: messages that come from elsewhere, bots.
grant insert (sender), delete on isobase.room_messages to service_role;
grant insert (created_by) on isobase.rooms to service_role;
grant execute on function isobase.forget_room_user() to supabase_auth_admin;

set role supabase_auth_admin;
drop trigger if exists isobase_forget_room_user on auth.users;
create trigger isobase_forget_room_user after delete on auth.users for each row execute function isobase.forget_room_user();
reset role;

-- Private channels called room:ID, where ID is a room: open to those who may see the room, whatever else a project's policies allow.
set role supabase_realtime_admin;
drop policy if exists isobase_rooms_read on realtime.messages;
create policy isobase_rooms_read on realtime.messages for select to authenticated
  using (topic like 'room:%' and isobase.room_role(substr(topic, 6)) is not null);
drop policy if exists isobase_rooms_write on realtime.messages;
create policy isobase_rooms_write on realtime.messages for insert to authenticated
  with check (topic like 'room:%' and isobase.room_role(substr(topic, 6)) is not null);
drop policy if exists isobase_rooms_read_only on realtime.messages;
create policy isobase_rooms_read_only on realtime.messages as restrictive for select to anon, authenticated
  using (topic not like 'room:%' or isobase.may_read_room_topic(topic));
drop policy if exists isobase_rooms_write_only on realtime.messages;
create policy isobase_rooms_write_only on realtime.messages as restrictive for insert to anon, authenticated
  with check (topic not like 'room:%' or isobase.may_write_room_topic(topic, event));
drop policy if exists isobase_rooms_change_only on realtime.messages;
create policy isobase_rooms_change_only on realtime.messages as restrictive for update to anon, authenticated
  using (topic not like 'room:%' or isobase.may_write_room_topic(topic, event))
  with check (topic not like 'room:%' or isobase.may_write_room_topic(topic, event));
reset role;
do $open$
begin
  perform isobase.open_tables_to_service_role();
end
$open$;

----------------------------------------------------------------------------------------------------------------------
-- 7. Schema cache notices (source: PostgREST, schema cache): the REST face reloads when tables, functions ... change
----------------------------------------------------------------------------------------------------------------------

create or replace function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql set search_path to '' as $$
begin
  -- Temporary objects are nobody else's business. PostgreSQL folds equal notices of one transaction into one. What the service changes in
  -- a database made at run time it tells of by the name of its schema, so that nobody reads everything for one table.
  if exists (
    select from pg_catalog.pg_event_trigger_ddl_commands() as c
     where c.schema_name is distinct from 'pg_temp'
       and (pg_catalog.current_setting('isobase.definition', true) is distinct from 'on'
            or coalesce(c.schema_name, '') || ' ' || coalesce(c.object_identity, '') !~ '\mdb_[0-9a-f]{32}\M')
       and (c.command_tag ~ '^(CREATE|ALTER) (SCHEMA|TABLE|FOREIGN TABLE|VIEW|MATERIALIZED VIEW|FUNCTION|PROCEDURE|TYPE|DOMAIN)$'
            or c.command_tag in ('CREATE TABLE AS', 'SELECT INTO', 'CREATE TRIGGER', 'CREATE RULE', 'COMMENT'))
  ) then
    notify pgrst, 'reload schema';
  end if;
end
$$;

create or replace function extensions.pgrst_drop_watch() returns event_trigger language plpgsql set search_path to '' as $$
begin
  if exists (
    select from pg_catalog.pg_event_trigger_dropped_objects() as o
     where not o.is_temporary
       and (pg_catalog.current_setting('isobase.definition', true) is distinct from 'on'
            or coalesce(o.schema_name, '') || ' ' || coalesce(o.object_identity, '')
               !~ '\mdb_[0-9a-f]{32}\M|RI_ConstraintTrigger')
       and o.object_type in ('schema', 'table', 'table column', 'table constraint', 'foreign table', 'view', 'materialized view',
                             'function', 'procedure', 'trigger', 'type', 'domain', 'rule')
  ) then
    notify pgrst, 'reload schema';
  end if;
end
$$;

do $watch$
begin
  if not exists (select from pg_catalog.pg_event_trigger where evtname = 'pgrst_ddl_watch') then
    create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
  end if;
  if not exists (select from pg_catalog.pg_event_trigger where evtname = 'pgrst_drop_watch') then
    create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_drop_watch();
  end if;
exception when insufficient_privilege then
  raise warning 'no event triggers: after a migration send NOTIFY pgrst, ''reload schema''';
end
$watch$;

----------------------------------------------------------------------------------------------------------------------
-- 8. Default privileges: what a migration makes in public is reachable by the API roles, and row security decides
----------------------------------------------------------------------------------------------------------------------

do $defaults$
declare
  maker text;
  kind text;
begin
  for maker in select rolname from pg_catalog.pg_roles where rolname in ('postgres', 'supabase_admin', current_user) loop
    foreach kind in array array['tables', 'sequences', 'routines'] loop
      begin
        execute pg_catalog.format(
          'alter default privileges for role %I in schema public grant all on %s to postgres, anon, authenticated, service_role',
          maker, kind);
      exception when insufficient_privilege then
        raise warning 'what % makes in schema public is not granted to the API roles: %', maker, sqlerrm;
      end;
    end loop;
  end loop;
end
$defaults$;

reset check_function_bodies;
reset client_min_messages;
reset search_path;
