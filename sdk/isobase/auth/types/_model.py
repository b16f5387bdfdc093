"""The base of all answers of the auth server."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Model"]


class Model(BaseModel):
    """An answer: fields that this release does not know are accepted and dropped, as upstream's models do.

    Validators are built at the first use (``defer_build``): a program that never calls the admin API does not pay for
    its models when it imports the client. An answer that cannot be read is not shown by the error that says so: it holds
    tokens.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(defer_build=True, hide_input_in_errors=True)
