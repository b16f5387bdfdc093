"""What the simple face reads and writes, as pydantic models: the edge where outside data is checked.

A refusal names the fields and what is wrong with them, never what was sent: it may have been a password.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from isobase_platform.errors import BadRequest
from isobase_services.auth.models import Grant, User
from isobase_services.auth.request import parse_body

__all__ = [
    "RefreshBody",
    "SendOtpBody",
    "SentAnswer",
    "SessionAnswer",
    "SigninBody",
    "SignoutBody",
    "SignupBody",
    "UserAnswer",
    "VerifyOtpBody",
    "read_model",
]

_USER_EXAMPLE: dict[str, Any] = {
    "id": "5f1c9b6e-6f0a-4c5e-9f57-0d2b8f5f6a11",
    "email": "alice@example.com",
    "created_at": "2026-01-05T10:00:00Z",
    "email_confirmed_at": "2026-01-05T10:00:00Z",
    "last_sign_in_at": "2026-01-05T10:00:00Z",
    "user_metadata": {"full_name": "Alice"},
}


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SigninBody(_Body):
    """Who signs in."""

    email: Annotated[str, Field(min_length=1, max_length=255, examples=["alice@example.com"])]
    password: Annotated[SecretStr, Field(min_length=1, examples=["correct horse battery"])]


class SignupBody(SigninBody):
    """Who signs up; ``data`` becomes the user's metadata."""

    data: Annotated[dict[str, Any] | None, Field(examples=[{"full_name": "Alice"}])] = None


class SendOtpBody(_Body):
    """Who wants a code; ``data`` becomes the metadata of somebody new."""

    email: Annotated[str, Field(min_length=1, max_length=255, examples=["alice@example.com"])]
    data: Annotated[dict[str, Any] | None, Field(examples=[{"full_name": "Alice"}])] = None


class VerifyOtpBody(_Body):
    """The code of the mail."""

    email: Annotated[str, Field(min_length=1, max_length=255, examples=["alice@example.com"])]
    code: Annotated[SecretStr, Field(min_length=1, max_length=16, examples=["123456"])]


class RefreshBody(_Body):
    """The refresh token of the last answer."""

    refresh_token: Annotated[SecretStr, Field(min_length=1, examples=["x4w2k7p3q6aj"])]


class SignoutBody(_Body):
    """Which sessions end: this one, all, or all but this one."""

    scope: Literal["local", "global", "others"] = "local"


class SentAnswer(BaseModel):
    """A code is on its way, should there be somebody to send it to: how long it is good, in seconds."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"expires_in": 900}]})

    expires_in: int


class UserAnswer(BaseModel):
    """A user as the simple face shows one."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_USER_EXAMPLE]})

    id: UUID
    email: str
    created_at: datetime
    email_confirmed_at: datetime | None
    last_sign_in_at: datetime | None
    user_metadata: dict[str, Any]

    @classmethod
    def of(cls, user: User) -> UserAnswer:
        """From a user of the core."""
        return cls(
            id=user.id,
            email=user.email,
            created_at=user.created_at,
            email_confirmed_at=user.email_confirmed_at,
            last_sign_in_at=user.last_sign_in_at,
            user_metadata=dict(user.user_metadata),
        )


class SessionAnswer(BaseModel):
    """Tokens and user. The tokens are null where a sign-up waits for the e-mail address to be confirmed."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.signature",
                    "token_type": "bearer",
                    "expires_in": 900,
                    "refresh_token": "x4w2k7p3q6aj",
                    "user": _USER_EXAMPLE,
                }
            ]
        },
    )

    access_token: str | None
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the scheme's name
    expires_in: int | None
    refresh_token: str | None
    user: UserAnswer

    @classmethod
    def of(cls, result: Grant | User) -> SessionAnswer:
        """From what a flow gave: a grant, or a user who has yet to confirm."""
        if isinstance(result, User):
            return cls(access_token=None, expires_in=None, refresh_token=None, user=UserAnswer.of(result))
        return cls(
            access_token=result.access_token,
            expires_in=result.expires_in_s,
            refresh_token=result.refresh_token,
            user=UserAnswer.of(result.user),
        )


_Model = TypeVar("_Model", bound=BaseModel)


def read_model(model: type[_Model], raw: bytes) -> _Model:
    """Parse a JSON body into ``model``. Raises 400 naming the fields that are missing or wrong."""
    try:
        return model.model_validate(parse_body(raw))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        )
        # The chain would carry the input into the log.
        raise BadRequest("The request body is not valid", details=problems) from None
