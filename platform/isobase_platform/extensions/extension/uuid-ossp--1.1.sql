-- Stand-in for uuid-ossp 1.1 in SQL, for the embedded PostgreSQL, which is built without a UUID library.
-- Same functions, arguments and volatility as the real one. See docs/decisions/0005-pgcrypto-stand-in.md.
--
-- The extension is relocatable, so no function may name its own schema. Bodies in SQL-standard form (begin atomic) are bound to what
-- they call when they are created; PL/pgSQL bodies call built-ins only.
\echo Use "create extension ""uuid-ossp""" to load this file. \quit

create function uuid_nil() returns uuid language sql immutable strict parallel safe
return '00000000-0000-0000-0000-000000000000'::uuid;

-- Name spaces of RFC 9562, section 6.6.
create function uuid_ns_dns() returns uuid language sql immutable strict parallel safe
return '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid;

create function uuid_ns_url() returns uuid language sql immutable strict parallel safe
return '6ba7b811-9dad-11d1-80b4-00c04fd430c8'::uuid;

create function uuid_ns_oid() returns uuid language sql immutable strict parallel safe
return '6ba7b812-9dad-11d1-80b4-00c04fd430c8'::uuid;

create function uuid_ns_x500() returns uuid language sql immutable strict parallel safe
return '6ba7b814-9dad-11d1-80b4-00c04fd430c8'::uuid;

create function uuid_generate_v4() returns uuid language sql volatile strict parallel safe
return gen_random_uuid();

-- Time-based (RFC 9562, section 5.1): 100 ns ticks since 1582-10-15. The clock gives microseconds; the last digit, the clock sequence and the
-- node are random, the node with the multicast bit that marks it as no network address.
create function uuid_generate_v1mc() returns uuid
language plpgsql volatile strict parallel safe set search_path to pg_catalog as $$
declare
  noise constant bytea := uuid_send(gen_random_uuid());
  ticks constant bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint * 10 + 122192928000000000
    + get_byte(noise, 7) % 10;
  ticks_hex constant text := lpad(to_hex(ticks), 15, '0');
begin
  return (
    substring(ticks_hex from 8 for 8) || substring(ticks_hex from 4 for 4) || '1' || substring(ticks_hex from 1 for 3)
    || lpad(to_hex((get_byte(noise, 9) & 63) | 128), 2, '0') || encode(substring(noise from 11 for 1), 'hex')
    || lpad(to_hex(get_byte(noise, 0) | 1), 2, '0') || encode(substring(noise from 2 for 5), 'hex')
  )::uuid;
end
$$;

create function uuid_generate_v1() returns uuid language sql volatile strict parallel safe
return uuid_generate_v1mc();

-- SHA-1 (FIPS 180-4, section 6.1): PostgreSQL has no built-in. Words are bigints cut to 32 bits. In PostgreSQL the bit operators have one
-- precedence, hence the parentheses.
create function isobase_uuid_sha1(data bytea) returns bytea
language plpgsql immutable strict parallel safe set search_path to pg_catalog as $$
declare
  mask constant bigint := 4294967295;
  message constant bytea := data || '\x80'::bytea
    || decode(repeat('00', (119 - length(data) % 64) % 64), 'hex') || int8send(length(data)::bigint * 8);
  w bigint[] := array_fill(0::bigint, array[80], array[0]);
  h0 bigint := x'67452301'::bigint;
  h1 bigint := x'efcdab89'::bigint;
  h2 bigint := x'98badcfe'::bigint;
  h3 bigint := x'10325476'::bigint;
  h4 bigint := x'c3d2e1f0'::bigint;
  a bigint; b bigint; c bigint; d bigint; e bigint; f bigint; k bigint; t bigint;
begin
  for block in 0 .. length(message) / 64 - 1 loop
    for i in 0 .. 15 loop
      t := block * 64 + i * 4;
      w[i] := (get_byte(message, t::int)::bigint << 24) | (get_byte(message, t::int + 1) << 16)
              | (get_byte(message, t::int + 2) << 8) | get_byte(message, t::int + 3);
    end loop;
    for i in 16 .. 79 loop
      t := w[i - 3] # w[i - 8] # w[i - 14] # w[i - 16];
      w[i] := ((t << 1) | (t >> 31)) & mask;
    end loop;
    a := h0; b := h1; c := h2; d := h3; e := h4;
    for i in 0 .. 79 loop
      if i < 20 then
        f := (b & c) | ((b # mask) & d); k := x'5a827999'::bigint;
      elsif i < 40 then
        f := b # c # d; k := x'6ed9eba1'::bigint;
      elsif i < 60 then
        f := (b & c) | (b & d) | (c & d); k := x'8f1bbcdc'::bigint;
      else
        f := b # c # d; k := x'ca62c1d6'::bigint;
      end if;
      t := ((((a << 5) | (a >> 27)) & mask) + f + e + k + w[i]) & mask;
      e := d; d := c; c := ((b << 30) | (b >> 2)) & mask; b := a; a := t;
    end loop;
    h0 := (h0 + a) & mask; h1 := (h1 + b) & mask; h2 := (h2 + c) & mask; h3 := (h3 + d) & mask; h4 := (h4 + e) & mask;
  end loop;
  return substring(int8send(h0) from 5) || substring(int8send(h1) from 5) || substring(int8send(h2) from 5)
    || substring(int8send(h3) from 5) || substring(int8send(h4) from 5);
end
$$;
comment on function isobase_uuid_sha1(bytea) is 'Internal to the stand-in for uuid-ossp.';

-- Version and variant bits on 16 bytes of a hash.
create function isobase_uuid_from_hash(hash bytea, version integer) returns uuid language sql immutable strict parallel safe
return encode(
  set_byte(set_byte(substring(hash from 1 for 16), 6, (get_byte(hash, 6) & 15) | (version << 4)), 8, (get_byte(hash, 8) & 63) | 128),
  'hex')::uuid;
comment on function isobase_uuid_from_hash(bytea, integer) is 'Internal to the stand-in for uuid-ossp.';

create function uuid_generate_v3(namespace uuid, name text) returns uuid language sql immutable strict parallel safe
return isobase_uuid_from_hash(decode(md5(uuid_send(namespace) || convert_to(name, 'UTF8')), 'hex'), 3);

create function uuid_generate_v5(namespace uuid, name text) returns uuid language sql immutable strict parallel safe
return isobase_uuid_from_hash(isobase_uuid_sha1(uuid_send(namespace) || convert_to(name, 'UTF8')), 5);

do $$
begin
  raise warning 'uuid-ossp is a stand-in in SQL: uuid_generate_v1 has a random node in place of a network address';
end
$$;
