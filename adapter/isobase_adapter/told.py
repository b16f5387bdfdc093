"""Answers of the data API that say which side gave them.

They are the official package's answers in every other way: what they say of the side is no field, so ``model_dump`` and
``repr`` are as they were.
"""

from __future__ import annotations

from typing import Any

from postgrest import APIResponse
from postgrest.base_request_builder import SingleAPIResponse
from pydantic import PrivateAttr

from isobase_adapter.answers import Answer
from isobase_adapter.sides import Side

__all__ = ["ToldResponse", "ToldSingleResponse", "told"]


class _Told:
    """What both kinds of answers say."""

    _answer: Answer | None

    @property
    def answer(self) -> Answer | None:
        """Where it came from, with the capability and its stage; None where no side was asked."""
        return self._answer

    @property
    def side(self) -> Side | None:
        """The side that answered."""
        return None if self._answer is None else self._answer.side

    @property
    def is_fallback(self) -> bool:
        """Whether that side stood in for the one that should have answered."""
        return self._answer is not None and self._answer.is_fallback

    @property
    def is_behind(self) -> bool:
        """Whether writes were still on their way to that side: it may be older than what the other has."""
        return self._answer is not None and self._answer.is_behind


class ToldResponse(APIResponse, _Told):
    """An ``APIResponse`` that says which side answered."""

    _answer: Answer | None = PrivateAttr(default=None)

    def __repr_name__(self) -> str:
        """Show itself as what it stands for."""
        return APIResponse.__name__


class ToldSingleResponse(SingleAPIResponse, _Told):
    """A ``SingleAPIResponse`` that says which side answered."""

    _answer: Answer | None = PrivateAttr(default=None)

    def __repr_name__(self) -> str:
        """Show itself as what it stands for."""
        return SingleAPIResponse.__name__


def told(response: Any, answer: Answer | None) -> Any:
    """Give an answer of the official package as one that says where it came from; anything else as it is."""
    kind: type[ToldResponse | ToldSingleResponse]
    match response:
        case SingleAPIResponse():
            kind = ToldSingleResponse
        case APIResponse():
            kind = ToldResponse
        case _:
            return response
    made = kind.model_construct(data=response.data, count=response.count)
    made._answer = answer
    return made
