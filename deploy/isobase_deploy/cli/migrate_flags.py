"""``isobase migrate flags list | set | remove | history | rule | mismatches | explain | clients | forget-client``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from uuid import UUID

from isobase_adapter.capabilities import patterns_of
from isobase_adapter.control.functions import refused_by
from isobase_adapter.control.operator import FlagView, Operator, SetFlag
from isobase_adapter.control.records import ClientRecord
from isobase_adapter.control.rules import check_rule
from isobase_adapter.stages import Stage
from isobase_deploy.cli.exit_codes import ExitCode
from isobase_deploy.cli.migrate import answer, run
from isobase_deploy.cli.migrate_control import absent, needing_rules, opened_operator, plain, table
from isobase_platform.errors import BadRequest

__all__ = [
    "clients_command",
    "clients_text",
    "explain_command",
    "flags_text",
    "forget_client_command",
    "history_command",
    "list_command",
    "mismatches_command",
    "remove_command",
    "rule_command",
    "rules_text",
    "set_command",
]

MAX_FUNCTIONS = 10


def list_command(parsed: argparse.Namespace) -> int:
    """Show every flag with its writer."""

    async def work() -> int:
        async with opened_operator(parsed) as operator:
            views = await operator.list_flags()
            rules = (await operator.store.read_snapshot()).rules
        value = {"flags": [_view(view) for view in views], "rules": plain(rules)}
        lines = [f"{pattern}  {name} = {json.dumps(each)}" for pattern, names in sorted(rules.items())
                 for name, each in sorted(names.items())]  # fmt: skip
        answer(parsed, value, lambda: "\n".join([flags_text(views), *(["", "Rules:", *lines] if lines else [])]))
        return ExitCode.OK

    return run(work())


def set_command(parsed: argparse.Namespace) -> int:
    """Take a capability to a stage; 10 where a client did not say in time that it acts upon it."""

    async def work() -> int:
        async with opened_operator(parsed) as operator:
            refused = await _refused_functions(parsed, operator)
            if refused:
                _note(f"{rules_text(refused)} in stage {parsed.stage}")
            done = [
                await operator.set_flag(
                    pattern,
                    Stage(parsed.stage),
                    share_percent=parsed.share,
                    users=parsed.users,
                    reason=parsed.reason,
                    expected_version=parsed.expect,
                    timeout_s=parsed.wait,
                )
                for pattern in _patterns(parsed.capability)
            ]
        if await absent(parsed, _patterns(parsed.capability)):
            note = f"Isobase has nothing of the name {parsed.capability}; misspelt? (flags remove takes it away again)"
            _note(note)
        value = {
            "flags": [_view(one.view) for one in done],
            "not_heard": [_client(client) for one in done for client in one.not_heard],
            "functions_without_rule": list(refused),
        }
        answer(parsed, value, lambda: _set_text(done))
        return ExitCode.NOT_IN_ORDER if value["not_heard"] else ExitCode.OK

    return run(work())


def remove_command(parsed: argparse.Namespace) -> int:
    """Remove a flag."""

    async def work() -> int:
        async with opened_operator(parsed) as operator:
            patterns = _patterns(parsed.capability)
            for pattern in patterns:
                await operator.remove_flag(pattern, reason=parsed.reason)
        answer(parsed, {"removed": patterns}, lambda: f"removed {', '.join(patterns)}")
        return ExitCode.OK

    return run(work())


def history_command(parsed: argparse.Namespace) -> int:
    """Show who changed what and why."""

    async def work() -> int:
        async with opened_operator(parsed) as operator:
            patterns = _patterns(parsed.capability) if parsed.capability else [None]
            changes = [change for pattern in patterns for change in await operator.history(pattern, limit=parsed.limit)]
        changes = sorted(changes, key=lambda change: (change.changed_at, change.version), reverse=True)[: parsed.limit]
        rows = [
            (
                f"{change.changed_at:%Y-%m-%d %H:%M:%S}",
                change.pattern,
                f"{change.was_stage or 'off'} -> {change.stage}",
                _share(change.share_percent, len(change.users)),
                change.changed_by,
                change.reason,
            )
            for change in changes
        ]
        answer(
            parsed, {"history": plain(changes)}, lambda: table(("when", "flag", "stage", "users", "by", "why"), rows)
        )
        return ExitCode.OK

    return run(work())


def rule_command(parsed: argparse.Namespace) -> int:
    """Set a rule of a pattern."""
    try:
        value = json.loads(parsed.value)
        check_rule(parsed.name, value)
    except ValueError as error:
        raise BadRequest(f"{parsed.name} {parsed.value}: {error}") from error

    async def work() -> int:
        async with opened_operator(parsed) as operator:
            patterns = _patterns(parsed.capability)
            for pattern in patterns:
                await operator.set_rule(pattern, parsed.name, value)
        done = {"patterns": patterns, "name": parsed.name, "value": value}
        answer(parsed, done, lambda: f"{', '.join(patterns)}: {parsed.name} = {json.dumps(value)}")
        return ExitCode.OK

    return run(work())


def mismatches_command(parsed: argparse.Namespace) -> int:
    """Show how the sides' answers differ."""

    async def work() -> int:
        async with opened_operator(parsed) as operator:
            names = _patterns(parsed.capability) if parsed.capability else None
            groups = await operator.store.read_mismatches(names)
        rows = [
            (
                group.id,
                group.capability,
                f"{'noise: ' if group.is_noise else ''}{group.fingerprint}",
                group.occurrences,
                f"{group.last_at:%Y-%m-%d %H:%M:%S}",
                group.explained or "",
            )
            for group in groups
        ]
        head = ("number", "capability", "cause", "times", "last", "explained")
        answer(parsed, {"mismatches": plain(groups)}, lambda: table(head, rows) if rows else "no mismatches")
        return ExitCode.OK

    return run(work())


def explain_command(parsed: argparse.Namespace) -> int:
    """Say why a group of mismatches is no defect."""

    async def work() -> int:
        async with opened_operator(parsed) as operator:
            if not await operator.store.explain_mismatch(parsed.group, parsed.why, by=operator.by):
                raise BadRequest(f"there is no group of mismatches {parsed.group}")
        text = f"explained: {parsed.why}" if parsed.why else "not explained any more"
        answer(parsed, {"group": parsed.group, "explained": parsed.why}, lambda: f"{parsed.group} {text}")
        return ExitCode.OK

    return run(work())


def clients_command(parsed: argparse.Namespace) -> int:
    """Show the clients."""

    async def work() -> int:
        async with opened_operator(parsed) as operator:
            clients = await operator.clients()
            version = (await operator.store.read_snapshot()).version
        value = {"version": version, "clients": [_client(client) for client in clients]}
        answer(parsed, value, lambda: clients_text(clients, version))
        return ExitCode.OK

    return run(work())


def forget_client_command(parsed: argparse.Namespace) -> int:
    """Say that a silent client is gone for good."""
    try:
        client = UUID(parsed.client)
    except ValueError as error:
        raise BadRequest(f"{parsed.client!r} is not the id of a client") from error

    async def work() -> int:
        async with opened_operator(parsed) as operator:
            if not await operator.forget_client(client):
                raise BadRequest(f"there is no client {client}")
        answer(parsed, {"forgotten": str(client)}, lambda: f"forgot {client}")
        return ExitCode.OK

    return run(work())


def flags_text(views: Sequence[FlagView]) -> str:
    """Give flags as text."""
    if not views:
        return "no flags: everything is off, Supabase alone"
    rows = [
        (
            view.flag.pattern,
            view.flag.stage,
            _share(view.flag.share_percent, len(view.flag.users)),
            f"{view.writer.side}{' (being handed over)' if view.writer.is_handing_over else ''}",
            f"acts as {view.acts_as}" if view.acts_as is not view.flag.stage else "wants a handover: isobase migrate cutover"
            if view.wants_handover else "",
        )
        for view in views
    ]  # fmt: skip
    return table(("capability", "stage", "users", "written first", ""), rows)


def clients_text(clients: Sequence[ClientRecord], version: int) -> str:
    """Give clients as text."""
    if not clients:
        return "no clients"
    rows = [
        (
            client.name,
            f"{client.host}:{client.pid}",
            f"silent for {client.silent_s:.0f} s" if client.is_silent else "heard",
            "up to date" if client.version >= version else f"acts upon change {client.version} of {version}",
            client.spooled or "",
            client.id,
        )
        for client in clients
    ]
    return table(("client", "process", "", "flags", "spooled", "id"), rows)


def rules_text(names: Sequence[str]) -> str:
    """Say of functions that they need a rule."""
    more = f" and {len(names) - MAX_FUNCTIONS} more" if len(names) > MAX_FUNCTIONS else ""
    return (
        f"{', '.join(names[:MAX_FUNCTIONS])}{more} may write and {'has' if len(names) == 1 else 'have'} no rule"
        f" (isobase migrate flags rule rpc:{names[0]} rpc ..., docs/migration/client.md): calls are refused"
    )


async def _refused_functions(parsed: argparse.Namespace, operator: Operator) -> tuple[str, ...]:
    names = await needing_rules(parsed, operator)
    snapshot = await operator.store.read_snapshot()
    found = {
        one for each in _patterns(parsed.capability) for one in refused_by(each, Stage(parsed.stage), names, snapshot)
    }
    return tuple(sorted(found))


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)  # noqa: T201  the command's voice


def _patterns(text: str) -> list[str]:
    try:
        return list(patterns_of(text))
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _set_text(done: Sequence[SetFlag]) -> str:
    lines = [flags_text([one.view for one in done])]
    heard = max(len(one.heard) for one in done)
    lines.append(f"{heard} client{'' if heard == 1 else 's'} act{'s' if heard == 1 else ''} upon it")
    late = {client.id: client for one in done for client in one.not_heard}
    lines += [
        f"not yet: {client.name}, {client.host}:{client.pid}, silent for {client.silent_s:.0f} s, {client.id}"
        for client in late.values()
    ]
    return "\n".join(lines)


def _share(percent: float, users: int) -> str:
    if percent >= 100:
        return "all"
    return f"{percent:g} %" + (f" and {users} named" if users else "")


def _view(view: FlagView) -> dict[str, object]:
    return {**plain(view.flag), "writer": plain(view.writer), "acts_as": str(view.acts_as),
            "wants_handover": view.wants_handover}  # fmt: skip


def _client(client: ClientRecord) -> dict[str, object]:
    return {**plain(client), "is_silent": client.is_silent}
