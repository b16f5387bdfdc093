"""What a plan says of each thing that it found: it works, it works with a remark, it does not, and what to do.

Pure: facts in, items out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isobase_adapter.bulk.managed import PLATFORM_EXTENSIONS
from isobase_adapter.bulk.plan.beside import beside
from isobase_adapter.bulk.plan.facts import Facts
from isobase_adapter.bulk.plan.items import Item, Verdict
from isobase_adapter.bulk.report import size_text
from isobase_adapter.bulk.written import tables_written_by

__all__ = ["Item", "Verdict", "groups_of_tables", "judge"]


OWN_LANGUAGES = frozenset({"internal", "c", "sql", "plpgsql"})
PLATFORM_PUBLICATION = "supabase_realtime_messages_publication"
"""Both sides' realtime make it for themselves."""
FOLLOWS_FROM = 140_000


def judge(source: Facts, target: Facts) -> list[Item]:
    """Give the findings, those that need work first."""
    items = [
        *_servers(source, target),
        *_extensions(source, target),
        *_tables(source),
        *_triggers(source),
        *_functions(source, target),
        *_rest(source),
        *_auth(source),
        *_storage(source),
        *beside(source, target),
    ]
    order = [Verdict.NO, Verdict.REMARK, Verdict.WORKS]
    return sorted(items, key=lambda item: order.index(item.verdict))


def groups_of_tables(source: Facts) -> list[list[str]]:
    """Give the tables that foreign keys and triggers tie together, largest group first: they change stage together."""
    parent: dict[str, str] = {
        f"{row['schema']}.{row['name']}": "" for row in source.rows("tables") if not row["is_partition"]
    }

    def root(name: str) -> str:
        while parent[name]:
            name = parent[name]
        return name

    for reference in source.rows("references"):
        one, other = reference["table"], reference["referenced"]
        if one in parent and other in parent and root(one) != root(other):
            parent[root(one)] = root(other)
    for trigger in source.rows("triggers"):
        one = f"{trigger['schema']}.{trigger['table']}"
        for other in tables_written_by(trigger["source"], parent.keys()) if one in parent else ():
            if root(one) != root(other):
                parent[root(one)] = root(other)
    groups: dict[str, list[str]] = {}
    for name in parent:
        groups.setdefault(root(name), []).append(name)
    return sorted(
        (sorted(group) for group in groups.values() if len(group) > 1), key=lambda group: (-len(group), group)
    )


def _servers(source: Facts, target: Facts) -> Iterator[Item]:
    here, there = source.one("server"), target.one("server")
    if not here or not there:
        return
    versions = f"PostgreSQL {here['version']} -> {there['version']}"
    is_older = there["version_number"] // 10_000 < here["version_number"] // 10_000
    yield Item(
        "server",
        "version",
        Verdict.REMARK if is_older else Verdict.WORKS,
        versions,
        "take a target of the same or a later major version: what only the newer one knows is refused"
        if is_older
        else "",
    )
    for side, facts in (("supabase", here), ("isobase", there)):
        if facts["wal_level"] != "logical" or facts["version_number"] < FOLLOWS_FROM:
            text = f"the log cannot be followed (wal_level {facts['wal_level']}, PostgreSQL {facts['version']})"
            yield Item("server", side, Verdict.REMARK, text, "set wal_level = logical, or use --method polling")
        elif not facts["may_replicate"]:
            yield Item(
                "server", side, Verdict.REMARK, f"role {facts['role']} may not replicate", "use --method polling"
            )
        elif facts["slots"] >= facts["max_slots"]:
            yield Item("server", side, Verdict.REMARK, "no replication slot is free", "raise max_replication_slots")
        else:
            yield Item("server", side, Verdict.WORKS, "the log can be followed")
        if not facts["sees_all_rows"]:
            text = f"row security hides rows from role {facts['role']}"
            yield Item("server", side, Verdict.NO, text, "connect as postgres, or give the role bypassrls")
    if here["encoding"] != there["encoding"]:
        text = f"encodings differ: {here['encoding']} and {there['encoding']}"
        yield Item("server", "encoding", Verdict.NO, text, "make the target's database with the source's encoding")
    elif here["collation"] != there["collation"]:
        text = f"collations differ: {here['collation']} and {there['collation']}"
        yield Item("server", "collation", Verdict.REMARK, text, "texts may be sorted otherwise")


def _extensions(source: Facts, target: Facts) -> Iterator[Item]:
    installed = {row["name"] for row in target.rows("extensions")}
    available = {row["name"]: row for row in target.rows("available_extensions")}
    for row in source.rows("extensions"):
        name = row["name"]
        comment = str(available.get(name, {}).get("comment") or "")
        if name in PLATFORM_EXTENSIONS:
            remark = PLATFORM_EXTENSIONS[name]
            yield Item("extension", name, Verdict.REMARK if remark else Verdict.WORKS, remark)
        elif comment.startswith("Isobase stand-in"):
            yield Item(
                "extension",
                name,
                Verdict.REMARK,
                comment.removeprefix("Isobase "),
                "does the project use what is missing?",
            )
        elif name in installed or name in available:
            yield Item("extension", name, Verdict.WORKS, f"version {row['version']}")
        else:
            text = "the target's server does not have it"
            yield Item("extension", name, Verdict.NO, text, "install it there, or do without what uses it")


def _tables(source: Facts) -> Iterator[Item]:
    for row in source.rows("tables"):
        name = f"{row['schema']}.{row['name']}"
        remarks: list[tuple[str, str]] = []
        if not row["has_key"] and not row["is_partition"]:
            remarks.append(
                ("no primary key: it is compared, not followed row by row", "add a primary key before the move")
            )
        if row["is_unlogged"]:
            remarks.append(("unlogged: its changes are in no log", "verify --repair carries them"))
        if not row["is_ours"]:
            remarks.append(
                (f"owned by {row['owner']}: it cannot be published", "give it to postgres, or use --method polling")
            )
        if row["is_open_to_anon"] and not row["has_row_security"]:
            remarks.append(("anybody may read or write it: no row security", "is that meant?"))
        counted = f"{row['rows']:,} rows, " if row["rows"] >= 0 else ""
        text = f"{counted}{size_text(row['size_bytes'])}"
        if not remarks:
            yield Item("table", name, Verdict.WORKS, text)
        for remark, todo in remarks:
            yield Item("table", name, Verdict.REMARK, remark, todo)


def _triggers(source: Facts) -> Iterator[Item]:
    for row in source.rows("triggers"):
        name = f"{row['schema']}.{row['table']} {row['name']}"
        if row["function_schema"] == "supabase_functions":
            yield Item(
                "webhook",
                name,
                Verdict.NO,
                "a webhook of the dashboard",
                "call the address from the app, or from a trigger of your own",
            )
        elif row["enabled"] in ("A", "R"):
            text = "it runs also where rows are carried, so a second time at the other side"
            yield Item("trigger", name, Verdict.NO, text, "alter table ... enable trigger, for the time of the move")
        elif row["writes_tables"]:
            text = f"its function {row['function']} writes tables that a call does not name"
            yield Item("trigger", name, Verdict.REMARK, text, "run `isobase migrate sync` during the move")
        else:
            yield Item("trigger", name, Verdict.WORKS)


def _functions(source: Facts, target: Facts) -> Iterator[Item]:
    languages = OWN_LANGUAGES | {row["name"] for row in target.rows("languages")}
    for row in source.rows("functions"):
        name = f"{row['schema']}.{row['name']}({row['arguments']})"
        if row["language"] not in languages:
            yield Item(
                "function",
                name,
                Verdict.NO,
                f"the target has no language {row['language']}",
                "write it in plpgsql or SQL",
            )
        elif row["is_callable"] and row["volatility"] == "volatile" and not row["is_trigger"]:
            text = "it may change rows that no call names (volatile, callable by the API)"
            yield Item(
                "function",
                name,
                Verdict.REMARK,
                text,
                f"set a rule for rpc:{row['schema']}.{row['name']}, see docs/migration/client.md",
            )
        elif row["is_security_definer"] and not row["has_search_path"]:
            yield Item(
                "function",
                name,
                Verdict.REMARK,
                "security definer without a search_path of its own",
                "set search_path = ''",
            )
        else:
            yield Item("function", name, Verdict.WORKS, f"{row['language']}, {row['volatility']}")


def _rest(source: Facts) -> Iterator[Item]:
    for row in source.rows("views"):
        kind = "materialized view" if row["is_materialized"] else "view"
        yield Item(kind, f"{row['schema']}.{row['name']}", Verdict.WORKS)
    for row in source.rows("foreign_tables"):
        name = f"{row['schema']}.{row['name']}"
        yield Item(
            "foreign table",
            name,
            Verdict.NO,
            f"of server {row['server']}",
            "make server, mapping and table by hand, or do without",
        )
    if source.one("secrets").get("count"):
        yield Item(
            "vault",
            f"{source.one('secrets')['count']} secrets",
            Verdict.NO,
            "they are not copied",
            "put them where the app reads its settings",
        )
    for row in source.rows("publications"):
        if row["name"] == "supabase_realtime":
            yield Item("realtime", row["name"], Verdict.WORKS, f"{row['tables']} tables send row changes")
        elif row["name"] != PLATFORM_PUBLICATION:
            yield Item(
                "publication",
                row["name"],
                Verdict.REMARK,
                "it is not copied",
                "make it at the target if somebody subscribes to it",
            )
    known = ("anon", "authenticated", "service_role", "authenticator", "postgres", "dashboard_user", "pgbouncer")
    for row in source.rows("roles"):
        name = row["name"]
        if (
            row["may_login"]
            and not row["is_superuser"]
            and name not in known
            and not name.startswith(("pg_", "supabase_", "pgsodium", "cli_login"))
        ):
            yield Item(
                "role",
                name,
                Verdict.REMARK,
                "it comes without its password",
                "alter role ... login password at the target",
            )


def _auth(source: Facts) -> Iterator[Item]:
    users = source.one("users")
    if users:
        text = f"{users['count']} users, {users['with_password']} with a password, {users['anonymous']} anonymous"
        yield Item("auth", "users", Verdict.WORKS, text)
    for row in source.rows("hashes"):
        is_known = row["kind"] != "other"
        text = f"{row['count']} passwords"
        yield Item(
            "auth",
            f"hashes: {row['kind']}",
            Verdict.WORKS if is_known else Verdict.REMARK,
            text,
            "" if is_known else "these users have to set a new password",
        )
    for row in source.rows("providers"):
        if row["name"] in ("email", "phone"):
            yield Item("auth", f"provider {row['name']}", Verdict.WORKS, f"{row['users']} identities")
        elif str(row["name"]).startswith("sso:"):
            yield Item(
                "auth",
                f"provider {row['name']}",
                Verdict.NO,
                f"{row['users']} identities by SAML",
                "their company's sign-in has to be set up anew",
            )
        else:
            text = f"{row['users']} identities"
            todo = f"set {row['name']}'s client id and secret at Isobase, and its callback URL at {row['name']}"
            yield Item("auth", f"provider {row['name']}", Verdict.REMARK, text, todo)
    for row in source.rows("factors"):
        yield Item("auth", f"second factors: {row['name']}", Verdict.WORKS, f"{row['count']} verified")
    if source.one("sessions"):
        yield Item("auth", "sessions", Verdict.WORKS, f"{source.one('sessions')['count']} sessions go on")


def _storage(source: Facts) -> Iterator[Item]:
    for row in source.rows("buckets"):
        text = f"{row['objects']} objects, {size_text(row['size_bytes'])}, largest {size_text(row['largest_bytes'])}"
        yield Item("bucket", row["name"], Verdict.WORKS, text)


def counted(items: Sequence[Item]) -> dict[Verdict, int]:
    """Count findings by verdict."""
    return {verdict: sum(item.verdict is verdict for item in items) for verdict in Verdict}
