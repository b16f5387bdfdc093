"""The simple face's fragment of ``/openapi.json``, made from the models that the endpoints use."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from isobase_services.auth.simple.bodies import (
    RefreshBody,
    SendOtpBody,
    SentAnswer,
    SessionAnswer,
    SigninBody,
    SignoutBody,
    SignupBody,
    UserAnswer,
    VerifyOtpBody,
)

__all__ = ["OPENAPI"]

_ERROR = {"$ref": "#/components/schemas/Error"}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return schema


def _request(model: type[BaseModel], example: dict[str, Any], *, is_required: bool = True) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}, "example": example}
    return {"required": is_required, "content": {"application/json": content}}


def _error(description: str, code: str, message: str) -> dict[str, Any]:
    example = {"error": {"code": code, "message": message, "details": None, "hint": None, "request_id": "9f6d1c4e"}}
    return {"description": description, "content": {"application/json": {"schema": _ERROR, "example": example}}}


_SESSION = {"application/json": {"schema": {"$ref": "#/components/schemas/SessionAnswer"}}}
_CREDENTIALS = {"email": "alice@example.com", "password": "correct horse battery"}
_BAD_BODY = _error("The body is not valid", "bad_request", "The request body is not valid")
_BUSY = _error("Too many requests from this address", "over_request_rate_limit", "Request rate limit reached")
_SIGNUPS_OFF = _error("Sign-ups are switched off", "signup_disabled", "Signups not allowed for this instance")
_REFUSED = _error("Banned, or the address is not confirmed yet", "email_not_confirmed", "Email not confirmed")
_UNAUTHORIZED = _error("No or no valid bearer token", "no_authorization", "This endpoint requires a valid Bearer token")

OPENAPI: dict[str, Any] = {
    "paths": {
        "/auth/signup": {
            "post": {
                "tags": ["auth"],
                "summary": "Sign up with e-mail and password",
                "description": "The tokens are null where the project asks for the e-mail address to be confirmed first.",
                "requestBody": _request(SignupBody, {**_CREDENTIALS, "data": {"full_name": "Alice"}}),
                "responses": {
                    "201": {"description": "Signed up", "content": _SESSION},
                    "400": _BAD_BODY,
                    "403": _SIGNUPS_OFF,
                    "409": _error("The address is taken", "user_already_exists", "User already registered"),
                    "422": _error(
                        "The password is too weak", "weak_password", "Password should be at least 6 characters."
                    ),
                    "429": _BUSY,
                },
            }
        },
        "/auth/signin": {
            "post": {
                "tags": ["auth"],
                "summary": "Sign in with e-mail and password",
                "requestBody": _request(SigninBody, _CREDENTIALS),
                "responses": {
                    "200": {"description": "Signed in", "content": _SESSION},
                    "400": _BAD_BODY,
                    "401": _error("Unknown user or wrong password", "invalid_credentials", "Invalid login credentials"),
                    "403": _REFUSED,
                    "429": _BUSY,
                },
            }
        },
        "/auth/send-otp": {
            "post": {
                "tags": ["auth"],
                "summary": "Mail a code to sign in with",
                "description": "The answer is the same for every address. Who is new is registered where sign-ups are on.",
                "requestBody": _request(SendOtpBody, {"email": "alice@example.com"}),
                "responses": {
                    "200": {
                        "description": "Sent, if there is somebody to send it to",
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SentAnswer"}}},
                    },
                    "400": _BAD_BODY,
                    "429": _error(
                        "Too many codes for this address",
                        "over_email_send_rate_limit",
                        "No more than 3 codes per hour are sent to an address",
                    ),
                },
            }
        },
        "/auth/verify-otp": {
            "post": {
                "tags": ["auth"],
                "summary": "Sign in with a code",
                "description": "A code is good once, for fifteen minutes and five guesses.",
                "requestBody": _request(VerifyOtpBody, {"email": "alice@example.com", "code": "123456"}),
                "responses": {
                    "200": {"description": "Signed in", "content": _SESSION},
                    "400": _BAD_BODY,
                    "401": _error("Not the code, or not any more", "otp_expired", "Token has expired or is invalid"),
                    "403": _REFUSED,
                    "429": _BUSY,
                },
            }
        },
        "/auth/refresh": {
            "post": {
                "tags": ["auth"],
                "summary": "Exchange a refresh token for new tokens",
                "description": "Every refresh token is good for one use; the answer brings the next one.",
                "requestBody": _request(RefreshBody, {"refresh_token": "x4w2k7p3q6aj"}),
                "responses": {
                    "200": {"description": "Refreshed", "content": _SESSION},
                    "400": _BAD_BODY,
                    "401": _error(
                        "The token was used before, or its session has ended",
                        "refresh_token_already_used",
                        "Invalid Refresh Token: Already Used",
                    ),
                    "403": _REFUSED,
                    "429": _BUSY,
                },
            }
        },
        "/auth/signout": {
            "post": {
                "tags": ["auth"],
                "summary": "Sign out",
                "description": "Ends this session, or by scope all sessions of the user or all the others.",
                "security": [{"bearer": []}],
                "requestBody": _request(SignoutBody, {"scope": "local"}, is_required=False),
                "responses": {"204": {"description": "Signed out"}, "401": _UNAUTHORIZED},
            }
        },
    },
    "schemas": {
        model.__name__: _schema(model)
        for model in (
            SignupBody,
            SigninBody,
            SendOtpBody,
            SentAnswer,
            VerifyOtpBody,
            RefreshBody,
            SignoutBody,
            SessionAnswer,
            UserAnswer,
        )
    },
}
