"""The pages of docs/sdk as programs: reads their blocks, runs a page as its reader would, writes it for a type checker.

What a page may hold:

- ``python`` blocks: run in order in one namespace; ``await``, ``async with`` and ``async for`` may stand at the top level,
  as in ``python -m asyncio``. The working directory is an empty one of the page's own.
- ``sql`` blocks: run as the project's owner at their place between the others; the API knows what they made before the page
  goes on.
- ``python no-run REASON``: type-checked and not run; the reason is written for the reader of the source.
- ``<!-- python`` ... ``-->`` and ``<!-- sql`` ... ``-->``: run and not shown. For what a reader has anyway, as a file to
  upload.
- All other blocks (``sh``, ``toml``, ``text`` ...) are text.

A block may be indented in a list. Line numbers of errors are the page's own. Clients that a page leaves open are closed.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

__all__ = ["Block", "blocks_of", "run_page", "typed_program"]

_OPENING = re.compile(r"^(?P<indent> *)(?:```|<!-- )(?P<language>python|sql)(?P<rest>[^\n]*)$")
_NO_RUN = "no-run"


@dataclass(slots=True, frozen=True)
class Block:
    """One block of a page. ``line`` is the page's line of its first line; ``no_run`` says why it is not run."""

    language: Literal["python", "sql"]
    text: str
    line: int
    no_run: str | None = None


def blocks_of(page: str, name: str) -> list[Block]:
    """Read the blocks of a page's text. Raises ``ValueError`` with ``name`` and line for a block that is no good."""
    blocks: list[Block] = []
    lines = page.splitlines()
    number = 0
    while number < len(lines):
        opening = _OPENING.match(lines[number])
        number += 1
        if opening is None:
            continue
        end_mark = "-->" if "<!--" in lines[number - 1] else "```"
        end = next((at for at in range(number, len(lines)) if lines[at].strip() == end_mark), None)
        if end is None:
            raise ValueError(f"{name}:{number}: the block has no end")
        rest, reason = opening["rest"].strip(), None
        if rest.startswith(_NO_RUN):
            reason = rest.removeprefix(_NO_RUN).strip()
            if not reason:
                raise ValueError(f"{name}:{number}: a block that is not run says why: ```python no-run REASON")
        elif rest:
            raise ValueError(f"{name}:{number}: nobody knows what `{rest}` means here")
        text = textwrap.dedent("\n".join(lines[number:end]) + "\n")
        blocks.append(Block("python" if opening["language"] == "python" else "sql", text, number + 1, reason))
        number = end + 1
    return blocks


def typed_program(blocks: list[Block]) -> str:
    """The Python blocks as one program whose lines have the page's numbers, with empty lines between."""
    lines: list[str] = []
    for block in blocks:
        if block.language == "python":
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.text.splitlines()
    return "\n".join(lines) + "\n"


async def run_page(path: Path, blocks: list[Block], run_sql: Callable[[str], None]) -> None:
    """Run a page's blocks. Its clients that are still open at the end are closed.

    An exception names the page and its line in its traceback, a refused SQL statement in its message.
    """
    module = ModuleType("page_" + re.sub(r"\W", "_", path.stem))
    # dataclasses and pydantic look their annotations up in the module that a class says it is from
    sys.modules[module.__name__] = module
    try:
        for block in blocks:
            if block.no_run is not None:
                continue
            if block.language == "sql":
                try:
                    await asyncio.to_thread(run_sql, block.text)
                except Exception as error:
                    error.add_note(f"{path}:{block.line}")
                    raise
                continue
            program = "\n" * (block.line - 1) + block.text
            code = compile(
                program, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True, optimize=0
            )
            outcome = eval(code, module.__dict__)
            if inspect.iscoroutine(outcome):
                await outcome
    finally:
        sys.modules.pop(module.__name__, None)
        await _close(list(module.__dict__.values()))


async def _close(values: list[object]) -> None:
    for value in values:
        if isinstance(value, type) or type(value).__module__.partition(".")[0] != "isobase":
            continue
        close = getattr(value, "aclose", None) or getattr(value, "close", None)
        if callable(close):
            outcome = close()
            if inspect.isawaitable(outcome):
                await outcome
