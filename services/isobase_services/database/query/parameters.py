"""The values of a statement, apart from its text, and which of them a later request of the same shape brings along.

A filter's operand, an offset and a body differ from request to request while the SQL stays the same. ``Operand`` marks such a
text where it is parsed; ``Parameters`` sees the mark when the SQL is written and remembers the place, so that ``bind`` can
put another request's operands there. All values travel as text whose type PostgreSQL infers (``wire_messages``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from isobase_platform.wire_messages import Parameter

__all__ = ["BODY", "Bound", "Operand", "Parameters", "array_literal", "like_pattern", "list_literal"]

BODY = -1
"""The slot of a request's body."""

Form: TypeAlias = Callable[[str], str]
"""What makes a parameter's text of an operand."""


class Operand(str):
    """A text that stands at ``slot`` among the operands of its request."""

    __slots__ = ("slot",)
    slot: int

    @classmethod
    def at(cls, slot: int | None, text: str) -> str:
        """``text`` marked with its slot; unmarked where there is none."""
        if slot is None:
            return text
        made = cls(text)
        made.slot = slot
        return made


@dataclass(slots=True, frozen=True)
class Bound:
    """The recipe of a statement's values: ``constants`` with places that operands fill."""

    constants: tuple[Parameter, ...]
    places: tuple[tuple[int, int, Form | None], ...]
    lists: tuple[tuple[int, tuple[int, ...]], ...]

    def bind(self, operands: Sequence[str], body: str | bytes | None) -> list[Parameter]:
        """The values for a request with these ``operands`` and this body."""
        values = list(self.constants)
        for place, slot, form in self.places:
            if slot == BODY:
                values[place] = body
            else:
                values[place] = operands[slot] if form is None else form(operands[slot])
        for place, slots in self.lists:
            values[place] = array_literal([operands[slot] for slot in slots])
        return values

    def emptied(self) -> Bound:
        """The recipe alone: without the operands and the body of the request that it was made of, which may be large."""
        filled = {place for place, *_ in (*self.places, *self.lists)}
        constants = tuple(None if place in filled else value for place, value in enumerate(self.constants))
        return replace(self, constants=constants)


@dataclass(slots=True)
class Parameters:
    """The values of a statement, in the order of their numbers. ``body`` is the request's, known again by identity."""

    body: str | bytes | None = None
    values: list[Parameter] = field(default_factory=list)
    _places: list[tuple[int, int, Form | None]] = field(default_factory=list)
    _lists: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)

    def add(self, value: Parameter | Sequence[str], form: Form | None = None) -> str:
        """Append and return the placeholder. A list becomes an array; ``form`` makes the parameter's text of the value."""
        place = len(self.values)
        if isinstance(value, str):
            if isinstance(value, Operand):
                self._places.append((place, value.slot, form))
            elif value is self.body:
                self._places.append((place, BODY, None))
            self.values.append(str(value) if form is None else form(value))
        elif value is None or isinstance(value, bytes):
            if value is not None and value is self.body:
                self._places.append((place, BODY, None))
            self.values.append(value)
        else:
            slots = tuple([member.slot for member in value if isinstance(member, Operand)])
            if slots and len(slots) == len(value):
                self._lists.append((place, slots))
            self.values.append(array_literal(value))
        return f"${place + 1}"

    def bound(self) -> Bound:
        """The recipe that makes these values of the operands and the body."""
        return Bound(tuple(self.values), tuple(self._places), tuple(self._lists))


def array_literal(values: Sequence[str]) -> str:
    """PostgreSQL's text form of an array, every element quoted."""
    return "{" + ",".join([_quoted_element(value) for value in values]) + "}"


def _quoted_element(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def like_pattern(operand: str) -> str:
    """``*`` stands for ``%``, which URLs would have to escape."""
    return operand.replace("*", "%")


def list_literal(operand: str) -> str:
    """The array of a plain list ``(a,b)``; elements in quotes are the parser's business and never come here."""
    text = operand[1:-1].lstrip(" \t")
    return array_literal(text.split(",")) if text else "{}"
