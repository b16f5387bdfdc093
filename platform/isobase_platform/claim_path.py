"""Paths into a token's claims, as PostgREST's ``jwt-role-claim-key`` writes them.

``.key``, ``."any key"``, ``[0]``, and at the end one filter over an array of texts: ``[?(@ == "x")]`` with ``==``, ``!=``,
``^==`` (begins with), ``==^`` (ends with) or ``*==`` (contains). Source: PostgREST v14 docs, references/auth, and
``Config/JSPath.hs``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["ClaimPath", "parse_claim_path", "write_claim_path"]

_KEY = re.compile(r"\.(?:([\w$@]+)|\"([^\"]*)\")")
_INDEX = re.compile(r"\[(\d{1,9})\]")
_FILTER = re.compile(r"\[\?\(@\s*(==\^|==|!=|\^==|\*==)\s*\"([^\"]*)\"\)\]")

_MATCHES: Mapping[str, Callable[[str, str], bool]] = {
    "==": lambda member, text: member == text,
    "!=": lambda member, text: member != text,
    "^==": lambda member, text: member.startswith(text),
    "==^": lambda member, text: member.endswith(text),
    "*==": lambda member, text: text in member,
}


@dataclass(slots=True, frozen=True)
class _Filter:
    operator: str
    text: str


_Step: TypeAlias = str | int | _Filter


@dataclass(slots=True, frozen=True)
class ClaimPath:
    """A parsed path. Build it with ``parse_claim_path``."""

    steps: tuple[_Step, ...]

    def find(self, claims: object) -> tuple[object] | None:
        """The value at the path, in a tuple so that a JSON null is told from nothing found (None)."""
        value = claims
        for step in self.steps:
            if isinstance(step, str):
                if not isinstance(value, Mapping) or step not in value:
                    return None
                value = value[step]
                continue
            if not isinstance(value, list):
                return None
            if isinstance(step, int):
                if step >= len(value):
                    return None
                value = value[step]
                continue
            matches = _MATCHES[step.operator]
            found = next((one for one in value if isinstance(one, str) and matches(one, step.text)), None)
            if found is None:
                return None
            value = found
        return (value,)


def parse_claim_path(text: str) -> ClaimPath:
    """Read a path. Raises ``ValueError`` that names the place at which it cannot be read."""
    steps: list[_Step] = []
    place = 0
    while place < len(text) or not steps:
        key = _KEY.match(text, place)
        index = _INDEX.match(text, place)
        selection = _FILTER.match(text, place)
        found = key or index or selection
        if found is None or (selection is not None and selection.end() != len(text)):
            raise ValueError(f"failed to parse role-claim-key value ({text}) at column {place + 1}")
        if key is not None:
            steps.append(key.group(2) if key.group(1) is None else key.group(1))
        elif index is not None:
            steps.append(int(index.group(1)))
        elif selection is not None:
            steps.append(_Filter(selection.group(1), selection.group(2)))
        place = found.end()
    return ClaimPath(tuple(steps))


def write_claim_path(path: ClaimPath) -> str:
    """The path in its long form, every key in quotes, as ``--dump-config`` shows it."""
    parts: list[str] = []
    for step in path.steps:
        if isinstance(step, str):
            parts.append(f'."{step}"')
        elif isinstance(step, int):
            parts.append(f"[{step}]")
        else:
            parts.append(f'[?(@ {step.operator} "{step.text}")]')
    return "".join(parts)
