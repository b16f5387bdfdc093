"""Changes string values within a JSON text and leaves every other character as it is.

A parser would lose what JSON does not promise to keep: the digits of numbers, spaces, the order and repetition of names. So
only the string literals are looked at, and those that name a member (a colon follows) are left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from isobase_deploy.url_rewrite.prefixes import Prefix, rewritten

__all__ = ["rewrite_json"]

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"(?P<name>\s*:)?')


def rewrite_json(text: str, prefixes: Sequence[Prefix]) -> str:
    """The JSON ``text`` with the prefixes of its string values changed, at any depth; names of members stay."""

    def changed(match: re.Match[str]) -> str:
        literal = match[0]
        if match["name"] is not None:
            return literal
        value = json.loads(literal)
        new = rewritten(value, prefixes)
        # Half a surrogate pair, which the type json may hold escaped, stays escaped.
        return literal if new == value else json.dumps(new, ensure_ascii="\\ud" in literal.lower())

    return _STRING.sub(changed, text)
