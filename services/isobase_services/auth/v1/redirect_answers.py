"""Where a browser lands that is back from a provider: the app with a session, a code or an error in the URL.

Source: supabase/auth internal/api/external.go (redirectErrors); contracts auth 2.18. Neighbour: ``links`` (mail).

"""

from __future__ import annotations

from starlette.responses import Response

from isobase_platform.errors import IsobaseError
from isobase_services.auth.errors import AuthError, ErrorCode, OAuthRefusal
from isobase_services.auth.links import ERRORS_BY_STATUS, error_fields_redirect, location

__all__ = ["error_landing", "error_site", "redirect"]

_DENIALS = frozenset({ErrorCode.SIGNUP_DISABLED, ErrorCode.USER_BANNED, ErrorCode.PROVIDER_EMAIL_NEEDS_VERIFICATION})
_UNEXPECTED = "Unexpected failure, please check server logs for more information"


def redirect(url: str, *, status: int = 302) -> Response:
    """Lead the browser to ``url``; nobody may keep the answer, which can hold tokens."""
    return Response(status_code=status, headers={"location": location(url), "cache-control": "no-store"})


def error_landing(target: str, error: IsobaseError) -> str:
    """The app, with the error in the query, and in the fragment too, where older clients look."""
    return error_fields_redirect(target, _fields(error), in_fragment=True)


def error_site(site_url: str, error: IsobaseError) -> str:
    """The site, for a state that says nothing of an app: with the error in the query."""
    return error_fields_redirect(site_url, _fields(error), in_fragment=False)


def _fields(error: IsobaseError) -> dict[str, str]:
    if isinstance(error, OAuthRefusal):
        # The provider's own error has no code of ours.
        return {"error": error.error, "error_description": error.message}
    if not isinstance(error, AuthError):
        # The words of other layers are not for the address bar.
        return {"error": "server_error", "error_code": "unexpected_failure", "error_description": _UNEXPECTED}
    name = "access_denied" if error.code in _DENIALS else ERRORS_BY_STATUS.get(error.status, "server_error")
    return {"error": name, "error_code": error.code, "error_description": error.message}
