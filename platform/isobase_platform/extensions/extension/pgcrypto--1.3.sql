-- Stand-in for pgcrypto 1.3 in SQL, for the embedded PostgreSQL, which is built without OpenSSL.
-- Same functions and arguments as the real one; what SQL cannot do raises 0A000 with a hint. The format of crypt() is specified,
-- with test vectors, in docs/decisions/0005-pgcrypto-stand-in.md, and the auth service relies on it.
--
-- The extension is relocatable, so no function may name its own schema. Bodies in SQL-standard form (begin atomic) are bound to what
-- they call when they are created; PL/pgSQL bodies call built-ins only.
\echo Use "create extension pgcrypto" to load this file. \quit

create function gen_random_uuid() returns uuid language sql volatile parallel safe
return pg_catalog.gen_random_uuid();

-- 14 of a random UUID's 16 bytes are random whole; the two with version and variant bits are left out.
create function gen_random_bytes(count integer) returns bytea
language plpgsql volatile strict parallel safe set search_path to pg_catalog as $$
begin
  if count < 1 or count > 1024 then
    raise exception 'Length not in range' using errcode = 'external_routine_invocation_exception';
  end if;
  return (
    select substring(
      string_agg(substring(u.bytes from 1 for 6) || substring(u.bytes from 8 for 1) || substring(u.bytes from 10 for 7), '\x'::bytea)
      from 1 for count)
    from (select uuid_send(pg_catalog.gen_random_uuid()) as bytes from generate_series(1, (count + 13) / 14) offset 0) as u
  );
end
$$;

-- SHA-1 (FIPS 180-4, section 6.1): PostgreSQL has no built-in. Words are bigints cut to 32 bits. In PostgreSQL the bit operators have one
-- precedence, hence the parentheses.
create function isobase_crypto_sha1(data bytea) returns bytea
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
comment on function isobase_crypto_sha1(bytea) is 'Internal to the stand-in for pgcrypto.';

-- sha1 by PL/pgSQL (about 0.1 ms per 64 bytes), the others by PostgreSQL's built-ins. The cases are spelled out because a body that is
-- bound at creation must be one expression.
create function isobase_crypto_check_digest(type text) returns text
language plpgsql immutable strict parallel safe set search_path to pg_catalog as $$
begin
  if lower(type) in ('md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512') then
    return lower(type);
  end if;
  raise exception 'Cannot use "%": No such hash algorithm', type
    using errcode = 'invalid_parameter_value', hint = 'The embedded PostgreSQL has md5, sha1, sha224, sha256, sha384 and sha512.';
end
$$;
comment on function isobase_crypto_check_digest(text) is 'Internal to the stand-in for pgcrypto.';

create function digest(data bytea, type text) returns bytea language sql immutable strict parallel safe
return case isobase_crypto_check_digest(type)
  when 'md5' then decode(md5(data), 'hex')
  when 'sha1' then isobase_crypto_sha1(data)
  when 'sha224' then sha224(data)
  when 'sha256' then sha256(data)
  when 'sha384' then sha384(data)
  when 'sha512' then sha512(data)
end;

create function digest(data text, type text) returns bytea language sql immutable strict parallel safe
return digest(convert_to(data, 'UTF8'), type);

-- `key`, filled up with zeros to the block size, each byte XOR `pad` (RFC 2104, section 2).
create function isobase_crypto_pad(key bytea, pad integer, block_bytes integer) returns bytea
language plpgsql immutable strict parallel safe set search_path to pg_catalog as $$
declare
  padded bytea := key || decode(repeat('00', block_bytes - length(key)), 'hex');
begin
  for i in 0 .. block_bytes - 1 loop
    padded := set_byte(padded, i, get_byte(padded, i) # pad);
  end loop;
  return padded;
end
$$;
comment on function isobase_crypto_pad(bytea, integer, integer) is 'Internal to the stand-in for pgcrypto.';

create function hmac(data bytea, key bytea, type text) returns bytea language sql immutable strict parallel safe
begin atomic
  select digest(isobase_crypto_pad(k.short_key, 92, k.block_bytes)
                || digest(isobase_crypto_pad(k.short_key, 54, k.block_bytes) || data, type), type)
    from (
      select b.block_bytes, case when length(key) > b.block_bytes then digest(key, type) else key end as short_key
        from (select case when lower(type) in ('sha384', 'sha512') then 128 else 64 end as block_bytes) as b
    ) as k;
end;

create function hmac(data text, key text, type text) returns bytea language sql immutable strict parallel safe
return hmac(convert_to(data, 'UTF8'), convert_to(key, 'UTF8'), type);

-- $isobase$v1$<rounds>$<salt>: whatever the type, because crypt() has one algorithm here. The rounds asked for are checked as pgcrypto does,
-- so that a mistake shows, and not used.
create function gen_salt(type text, iter_count integer) returns text
language plpgsql volatile strict parallel safe set search_path to pg_catalog as $$
begin
  if lower(type) not in ('bf', 'md5', 'xdes', 'des', 'sha256crypt', 'sha512crypt') then
    raise exception 'gen_salt: Unknown salt algorithm' using errcode = 'invalid_parameter_value';
  end if;
  -- In parentheses: PL/pgSQL would take the first THEN of a bare CASE for its own.
  if iter_count <> 0 and (
    case lower(type)
      when 'bf' then iter_count not between 4 and 31
      when 'xdes' then iter_count not between 1 and 16777215 or iter_count % 2 = 0
      when 'md5' then iter_count <> 1000
      when 'des' then iter_count <> 25
      else iter_count not between 1000 and 999999999
    end
  ) then
    raise exception 'gen_salt: Incorrect number of rounds' using errcode = 'invalid_parameter_value';
  end if;
  return '$isobase$v1$5000$' || left(encode(sha256(
    uuid_send(pg_catalog.gen_random_uuid()) || uuid_send(pg_catalog.gen_random_uuid())), 'hex'), 32);
end
$$;

create function gen_salt(type text) returns text language sql volatile strict parallel safe
return gen_salt(type, 0);

-- PBKDF2-HMAC-SHA256 (RFC 8018, section 5.2) with one block of output. The HMAC is written out with both pads computed once: two sha256()
-- per round.
create function crypt(password text, salt text) returns text
language plpgsql immutable strict parallel safe set search_path to pg_catalog as $$
declare
  setting constant text[] := regexp_match(salt, '^\$isobase\$v1\$([1-9][0-9]{0,5})\$([0-9a-f]{32})(\$[0-9a-f]{64})?$');
  max_rounds constant integer := 100000;
  rounds integer;
  key bytea := convert_to(password, 'UTF8');
  inner_pad bytea := decode(repeat('36', 64), 'hex');
  outer_pad bytea := decode(repeat('5c', 64), 'hex');
  link bytea;
  folded bit(256);
  hash text := '';
begin
  rounds := setting[1]::integer;
  if setting is null or rounds > max_rounds then
    raise exception 'crypt: this salt or hash cannot be used on the embedded PostgreSQL'
      using errcode = 'feature_not_supported',
            hint = 'It knows the results of its own gen_salt() only. Check passwords through the auth API, or use a PostgreSQL'
                   ' with the real pgcrypto (--database-url).';
  end if;
  if length(key) > 64 then
    key := sha256(key);
  end if;
  for i in 0 .. length(key) - 1 loop
    inner_pad := set_byte(inner_pad, i, get_byte(key, i) # 54);
    outer_pad := set_byte(outer_pad, i, get_byte(key, i) # 92);
  end loop;
  link := sha256(outer_pad || sha256(inner_pad || decode(setting[2], 'hex') || '\x00000001'::bytea));
  folded := ('x' || encode(link, 'hex'))::bit(256);
  for i in 2 .. rounds loop
    link := sha256(outer_pad || sha256(inner_pad || link));
    folded := folded # ('x' || encode(link, 'hex'))::bit(256);
  end loop;
  for i in 0 .. 7 loop
    hash := hash || lpad(to_hex(substring(folded from i * 32 + 1 for 32)::bit(32)::integer), 8, '0');
  end loop;
  return '$isobase$v1$' || rounds || '$' || setting[2] || '$' || hash;
end
$$;

-- What SQL cannot do exists and refuses, so that a migration which only mentions it in a function body applies.

create function encrypt(data bytea, key bytea, type text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function encrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function decrypt(data bytea, key bytea, type text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function decrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function encrypt_iv(data bytea, key bytea, iv bytea, type text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function encrypt_iv is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function decrypt_iv(data bytea, key bytea, iv bytea, type text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function decrypt_iv is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_sym_encrypt(data text, psw text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_sym_encrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_sym_encrypt(data text, psw text, options text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_sym_encrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_sym_encrypt_bytea(data bytea, psw text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_sym_encrypt_bytea is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_sym_encrypt_bytea(data bytea, psw text, options text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_sym_encrypt_bytea is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_sym_decrypt(msg bytea, psw text) returns text
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_sym_decrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_sym_decrypt(msg bytea, psw text, options text) returns text
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_sym_decrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_sym_decrypt_bytea(msg bytea, psw text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_sym_decrypt_bytea is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_sym_decrypt_bytea(msg bytea, psw text, options text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_sym_decrypt_bytea is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_encrypt(data text, key bytea) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_encrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_encrypt(data text, key bytea, options text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_encrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_encrypt_bytea(data bytea, key bytea) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_encrypt_bytea is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_encrypt_bytea(data bytea, key bytea, options text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_encrypt_bytea is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_decrypt(msg bytea, key bytea) returns text
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_decrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_decrypt(msg bytea, key bytea, psw text) returns text
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_decrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_decrypt(msg bytea, key bytea, psw text, options text) returns text
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_decrypt is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_decrypt_bytea(msg bytea, key bytea) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_decrypt_bytea is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_decrypt_bytea(msg bytea, key bytea, psw text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_decrypt_bytea is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_pub_decrypt_bytea(msg bytea, key bytea, psw text, options text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_pub_decrypt_bytea is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Encrypt in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_key_id(data bytea) returns text
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_key_id is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Do this in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function armor(data bytea) returns text
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function armor is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Do this in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function armor(data bytea, keys text[], vals text[]) returns text
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function armor is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Do this in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function dearmor(data text) returns bytea
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function dearmor is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Do this in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

create function pgp_armor_headers(data text, out key text, out value text) returns setof record
language plpgsql stable strict parallel safe as $$
begin
  raise exception 'function pgp_armor_headers is not available on the embedded PostgreSQL'
    using errcode = 'feature_not_supported',
          hint = 'Do this in the application, or use a PostgreSQL with the real pgcrypto (--database-url).';
end
$$;

do $$
begin
  raise warning 'pgcrypto is a stand-in in SQL; missing: encrypt, decrypt, pgp_*, armor, dearmor; digests other than md5, sha1 and sha2;'
    ' bcrypt, md5 and DES hashes in crypt (it uses PBKDF2 instead)';
end
$$;
