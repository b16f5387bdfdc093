"""The SQL of lists, whose answers PostgreSQL builds as JSON text. Pure: statements are made of this module's constants only.

One level of a bucket by name, files and each folder once, is read in two ways. ``plain_level`` reads a range of the index
and is right where no name of it lies in a folder. Otherwise ``mixed_level`` walks: in batches where there are files, and with
one jump for each folder where folders hold many objects, so that the cost follows the entries that are answered and not
the objects below them.

Parameters of both: $1 bucket, $2 what the full names begin with, $3 how many entries to read behind those that are skipped,
$4 how many to skip, $5 the full name that the caller has already ('' for none, and always '' with LEVEL), $6 see
``LevelForm``, $7 how many to show of $3. Row: count of entries read, whether there are folders, objects as JSON (with LEVEL
folders too), folders as JSON, full name of the last that is shown.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from isobase_services.storage.core.objects_sql import json_time

__all__ = ["SEPARATOR", "LevelForm", "flat", "mixed_level", "plain_level"]

BATCH_ROWS = 1000
"""The most rows that a walk reads before it looks where it is."""
BATCH_ROWS_WITHOUT_JUMPS = 10_000
"""The same where policies keep PostgreSQL from finding the place of a key in the index, so that each step begins anew."""
FIRST_ROWS = 64
"""How many rows a walk begins with: it is known that there are folders, which may hold much."""
FIRST_FILES = 8
"""How many rows a walk reads behind a file that it met by a jump; eight times as many each time that these were files too."""
SEPARATOR = b",\n"
"""Stands between objects that are to be told apart without being read: the JSON of one has no line breaks."""
_SEPARATOR_SQL = r"E',\n'"
_GREATEST = "chr(1114111)"
"""U+10FFFF: no name that begins with a text sorts behind the text with this."""


class LevelForm(Enum):
    """LEVEL: list v1, names behind their first $6 characters, whatever their case. TREE: list v2, full names; their segment
    number $6 is the key."""

    LEVEL = "level"
    TREE = "tree"


def _quoted_time(column: str) -> str:
    text = json_time(column).replace("'YYYY", r"'\"YYYY").replace('"Z"\'', '"Z"\\"\'')
    return f"coalesce({text}, 'null')"


def _file(names: str) -> str:
    """A file as JSON. The three times are mostly one, which is ``u``; each costs as much as the rest."""
    created = f"case when f.created_at = f.updated_at then f.u else {_quoted_time('f.created_at')} end"
    accessed = f"case when f.last_accessed_at = f.updated_at then f.u else {_quoted_time('f.last_accessed_at')} end"
    # Operators, as concat() takes the way over C strings for each of its arguments.
    return (
        f"""('{{{names} || ',"id":"' || f.id::text || '","updated_at":' || f.u || ',"created_at":' || {created}"""
        f""" || ',"last_accessed_at":' || {accessed} || ',"metadata":' || coalesce(f.metadata::text, 'null') || '}}')"""
    )


def _folder(names: str) -> str:
    nothing = ',"id":null,"updated_at":null,"created_at":null,"last_accessed_at":null,"metadata":null}'
    return f"('{{{names} || '{nothing}')"


_FILE = {
    LevelForm.LEVEL: _file("""\"name":' || to_json(substr(f.name, $6::int + 1))::text"""),
    LevelForm.TREE: _file(
        """\"key":' || to_json(split_part(f.name, '/', $6::int))::text || ',"name":' || to_json(f.name)::text"""
    ),
}
_FOLDER_NAME = "left(f.name, length($2) + f.slash - 1)"
_FOLDER = {
    LevelForm.LEVEL: _folder(f"""\"name":' || to_json(substr({_FOLDER_NAME}, $6::int + 1))::text"""),
    LevelForm.TREE: _folder(
        f"""\"key":' || to_json(split_part({_FOLDER_NAME}, '/', $6::int))::text"""
        f""" || ',"name":' || to_json({_FOLDER_NAME} || '/')::text"""
    ),
}
_KEY = {LevelForm.LEVEL: 'lower(o.name) collate "C"', LevelForm.TREE: 'o.name collate "C"'}
_PREFIX = {LevelForm.LEVEL: 'lower($2) collate "C"', LevelForm.TREE: '$2 collate "C"'}
# schema.sql marks lower(text) where it may: a superuser's right.
_CAN_JUMP = {
    LevelForm.LEVEL: "(select proleakproof from pg_catalog.pg_proc where oid = 'pg_catalog.lower(text)'::regprocedure)",
    LevelForm.TREE: "true",
}
_UPDATED = _quoted_time("r.updated_at")


def _probed(form: LevelForm) -> str:
    return f"o.name, {_KEY[form]} as key, position('/' in substr(o.name, length($2) + 1)) as slash"


def _columns(form: LevelForm) -> str:
    return f"{_probed(form)}, o.id, o.updated_at, o.created_at, o.last_accessed_at, o.metadata"


def _start(form: LevelForm, is_descending: bool) -> str:
    """Where to begin: ascending the first key that may come, descending the first that may not.

    A caller's last entry was a folder if objects lie below that name; then all of them are passed over.
    """
    prefix = _PREFIX[form]
    if form is LevelForm.LEVEL:
        # A parameter has to occur for PostgreSQL to find its type.
        return f"{prefix} || $5::text || {_GREATEST}" if is_descending else f"{prefix} || $5::text"
    below = """exists (select from storage.objects as o where o.bucket_id = $1 and o.name collate "C" >= $5::text || '/'
                           and o.name collate "C" < $5::text || '0')"""
    if is_descending:
        return f"""case when $5::text = '' then {prefix} || {_GREATEST} when right($5::text, 1) = '/' then $5::text
                        when {below} then $5::text || '/' else $5::text end collate "C\""""
    return f"""greatest({prefix}, case when $5::text = '' then '' when right($5::text, 1) = '/' then left($5::text, -1) || '0'
                        when {below} then $5::text || '0' else $5::text || chr(1) end collate "C")"""


def _range(form: LevelForm, is_descending: bool, seek: str) -> str:
    key, prefix = _KEY[form], _PREFIX[form]
    if is_descending:
        return f"o.bucket_id = $1 and {key} >= {prefix} and {key} < {seek}"
    return f"o.bucket_id = $1 and {key} >= {seek} and {key} <= {prefix} || {_GREATEST}"


@lru_cache
def plain_level(form: LevelForm, *, is_descending: bool, is_at_start: bool) -> str:
    """The statement for a level without folders; what it shows is of no use where it says that there are some.

    ``is_at_start``: nothing is skipped ($4 is 0). Then rows need no numbers, and all that are read are shown, with
    ``SEPARATOR`` between them and without the last one's name: the reader takes off what is beyond $7.
    """
    direction = "desc" if is_descending else "asc"
    seek = f"(select {_start(form, is_descending)})"
    order = f"{_KEY[form]} {direction}"
    if form is LevelForm.LEVEL:  # names that differ in case only have one key
        order += f', o.name collate "C" {direction}'
    rows = f"""
        select {_columns(form)}, {_quoted_time("o.updated_at")} as u from storage.objects as o
         where {_range(form, is_descending, seek)}
         order by {order} limit $3::int + $4::int"""  # noqa: S608  constants of this module
    item = f"case when f.slash = 0 then {_FILE[form]} end"
    if is_at_start:
        return f"""
select count(*), coalesce(bool_or(f.slash > 0), false), string_agg({item}, {_SEPARATOR_SQL}), null, null
  from ({rows}) as f
 where $6::int is not null and $7::int is not null
"""  # noqa: S608
    return f"""
select greatest(count(*) - $4::int, 0), coalesce(bool_or(f.slash > 0), false),
       string_agg({item}, ',') filter (where f.n > $4::int and f.n <= $4::int + $7::int), null,
       max(f.name) filter (where f.n = $4::int + $7::int)
  from (select r.*, row_number() over () as n from ({rows}) as r offset 0) as f
"""  # noqa: S608


@lru_cache
def mixed_level(form: LevelForm, *, is_descending: bool) -> str:
    """The statement for any level.

    A step of the walk has "seek" (where the next begins), "batch" (how many rows that one reads; 1 stands for jumps), and its
    entries. A batch takes all rows of its last key, as names that differ in case only are one key. Jumps go from folder to
    folder in a recursion of their own, as it costs half of what a step does; the first that meets a file leaves it to the
    batch that follows.
    """
    direction = "desc" if is_descending else "asc"
    key = _KEY[form]
    behind_folder, behind_file, at_file = (
        ("{0}", "{0}", "{0} || chr(1)") if is_descending else ("left({0}, -1) || '0'", "{0} || chr(1)", "{0}")
    )
    folder_key = "left({0}.key, length($2) + {0}.slash)".format
    shown = f"case when f.slash > 0 then {_FOLDER[form]} else {_FILE[form]} end"
    read = f"select {_columns(form)} from storage.objects as o where {_range(form, is_descending, 'w.seek')}"  # noqa: S608
    probe = f"select {_probed(form)} from storage.objects as o where {_range(form, is_descending, 'j.seek')}"  # noqa: S608
    end = "min" if is_descending else "max"
    is_told = "f.n > $4::int and f.n <= $4::int + $7::int"
    objects = f"filter (where {is_told}{' and not f.is_folder' if form is LevelForm.TREE else ''})"
    return f"""
with recursive walk (step, seek, batch, entries, items, names, folders) as (
  select 0, {_start(form, is_descending)},
         least($3::int + $4::int + 1, case when {_CAN_JUMP[form]} then {FIRST_ROWS} else {BATCH_ROWS} end), 0,
         null::text[], null::text[], null::boolean[]
  union all
  select w.step + 1, s.seek, s.batch, w.entries + coalesce(cardinality(s.items), 0), s.items, s.names, s.folders
    from walk as w cross join lateral (
      select max({at_file.format("f.key")}) filter (where f.slash = 0) as seek, {FIRST_FILES} as batch,
             array_agg(case when w.entries + f.at > $4::int then {_FOLDER[form]} end order by f.at)
               filter (where f.slash > 0) as items,
             array_agg({_FOLDER_NAME} order by f.at) filter (where f.slash > 0) as names,
             array_agg(true) filter (where f.slash > 0) as folders
        from (
          with recursive jump (at, name, key, slash, seek) as (
            select 0, null::text, null::text collate "C", -1, w.seek
            union all
            select j.at + 1, f.name, f.key, f.slash, {behind_folder.format(folder_key("f"))}
              from jump as j cross join lateral ({probe} order by {key} {direction} limit 1) as f
             where j.slash <> 0 and w.entries + j.at < $3::int + $4::int
          ) select * from jump) as f
       where w.batch = 1
      union all
      select case when count(*) < w.batch then null
                  when bool_or(f.is_last and f.slash > 0)
                  then {behind_folder.format(f"{end}(f.folder) filter (where f.is_last)")}
                  else {behind_file.format(f"{end}(f.key)")} end,
             case when not {_CAN_JUMP[form]} then {BATCH_ROWS_WITHOUT_JUMPS}
                  when bool_or(f.is_last and f.slash > 0) and count(*) filter (where f.is_first) * 4 < count(*) then 1
                  else least(w.batch * 8, {BATCH_ROWS}) end,
             array_agg(case when w.entries + w.batch > $4::int then {shown} end) filter (where f.is_first),
             array_agg(case when f.slash > 0 then {_FOLDER_NAME} else f.name end) filter (where f.is_first),
             array_agg(f.slash > 0) filter (where f.is_first)
        from (
          select r.*, {_UPDATED} as u, r.slash = 0 or lag(r.folder) over seen is distinct from r.folder as is_first,
                 r.key = {end}(r.key) over () as is_last
            from (
              select b.*, case when b.slash > 0 then {folder_key("b")} end as folder
                from ({read} order by {key} {direction} fetch first (w.batch) rows with ties) as b
            offset 0) as r
          window seen as (order by r.key {direction}, r.name collate "C" {direction})
        ) as f
       where w.batch > 1
    ) as s
   where w.entries < $3::int + $4::int and w.seek is not null
)
select greatest(count(*) - $4::int, 0), bool_or(f.is_folder), string_agg(f.item, ',' order by f.n) {objects},
       string_agg(f.item, ',' order by f.n) filter (where {is_told} and f.is_folder),
       max(f.name) filter (where f.n = $4::int + $7::int)
  from (
    select u.item, u.name, u.is_folder, row_number() over (order by w.step, u.at) as n
      from walk as w cross join lateral unnest(w.items, w.names, w.folders) with ordinality as u (item, name, is_folder, at)
     order by n limit $3::int + $4::int) as f
"""  # noqa: S608  constants of this module


@lru_cache
def flat(column: str | None, *, is_descending: bool, is_behind_time: bool) -> str:
    """The statement for full keys without folders, by name or by the time ``column``.

    Parameters: $1 bucket, $2 prefix, $3 how many to read, $4 the name behind which to begin (null: at the start), $5 its
    time as the cursor has it. Row: count, and objects as JSON with ``SEPARATOR`` between them.
    Times are compared and sorted by the millisecond that a cursor carries, then by name: strict within one millisecond.
    """
    direction, beyond = ("desc", "<") if is_descending else ("asc", ">")
    name = 'o.name collate "C"'
    moment = f"date_trunc('milliseconds', o.{column})"
    page = f"({moment}, {name}) {beyond} ($5::text::timestamptz, $4)" if is_behind_time else f"{name} {beyond} $4"
    order = f"{moment} {direction}, {name} {direction}" if column else f"{name} {direction}"
    item = _file("""\"name":' || to_json(f.name)::text""")
    return f"""
select count(*), string_agg({item}, {_SEPARATOR_SQL})
  from (
    select o.name, o.id, o.updated_at, o.created_at, o.last_accessed_at, o.metadata, {_quoted_time("o.updated_at")} as u
      from storage.objects as o
     where o.bucket_id = $1 and {name} >= $2 and {name} <= $2 || {_GREATEST}
       and ($4::text is null or {page}) and ($5::text is null or true)
     order by {order} limit $3::int) as f
"""  # noqa: S608  constants of this module
