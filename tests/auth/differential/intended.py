"""Where Isobase answers otherwise on purpose: what may differ, and why. Everything else must be the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.auth.differential.values import JsonValue

__all__ = ["INTENDED", "Intended", "is_a_mistake_told", "is_intended"]


SERVER_ERROR = 500


@dataclass(slots=True, frozen=True)
class Intended:
    """A difference that is meant: regular expressions for the request, the place in the result, and both values."""

    reason: str
    place: str
    request: str = ".*"
    upstream: str = ".*"
    ours: str = ".*"

    def covers(self, request: str, place: str, upstream: JsonValue, ours: JsonValue) -> bool:
        """Whether a difference is this one."""
        return all(
            re.fullmatch(pattern, value, re.DOTALL)
            for pattern, value in (
                (self.request, request),
                (self.place, place),
                (self.upstream, str(upstream)),
                (self.ours, str(ours)),
            )
        )


_JSON = r"Could not (parse request body as JSON|read verification params): .*"
_TOKEN = r"invalid JWT: unable to parse or verify signature, .*"

INTENDED: tuple[Intended, ...] = (
    Intended(
        "What Go's parser says about a text names Go's own types and states; code and first words are the same.",
        place=r"\.body\.(msg|message)",
        upstream=_JSON,
        ours=_JSON,
    ),
    Intended(
        "What is wrong with a token is told in words of our own; the first ones, status and code are the same.",
        place=r"\.body\.(msg|message)",
        upstream=_TOKEN,
        ours=_TOKEN,
    ),
    Intended(
        "A user who has chosen no password has none; upstream makes up one that nobody knows.",
        place=r"\.rows\.users\[\d\]\.encrypted_password",
        request=r"(POST /(otp|magiclink|recover|verify|resend|invite|token|admin/generate_link)|GET /|PUT /user).*",
        upstream="<bcrypt>",
        ours="",
    ),
    Intended(
        "A code for somebody whose sign-up is confirmed at once opens no session that nobody gets.",
        place=r"\.rows\.(sessions|refresh_tokens|mfa_amr_claims|users\[0\]\.last_sign_in_at)",
        request=r"(POST /(otp|magiclink|recover)|GET /verify).*",
        ours=r"(<absent>|None)",
    ),
    Intended(
        "And is therefore no sign-in for the log.",
        place=r"\.rows\.audit_log_entries",
        request=r"POST /(otp|magiclink).*",
        upstream=r".*'action': 'login'.*",
    ),
    Intended(
        "A refusal names nobody in its headers.",
        place=r"\.headers\.sb-auth-(user|session)-id",
        request=r"POST /(token\?grant_type=(refresh_token|password)|signup|oauth/token).*",
        ours="<absent>",
    ),
    Intended(
        "Everything about an access token of an ended session, or of the time to come, is refused.",
        place=r"\.(status|body.*|headers.*)",
        request=r"GET /(user|admin/users) #(ended|future)",
    ),
    Intended(
        "A user is read again after a change, so confirmed_at is there as soon as it is set; upstream forgets the column "
        "that PostgreSQL computes.",
        place=r"\.body(\.user)?\.confirmed_at",
        upstream="<absent>",
        ours="<now>Z",
    ),
    Intended(
        "An identity is shown as it is stored. Upstream shows it verified right after a sign-up that needs no confirmation, "
        "and not verified from the next request on.",
        place=r"\.body(\.user)?\.identities\[0\]\.identity_data\.email_verified",
        request=r"POST /(signup|admin/users|magiclink|otp).*",
        upstream="True",
        ours="False",
    ),
    Intended(
        "Every error's code is in the header too; upstream leaves some out.",
        place=r"\.headers\.x-sb-error-code",
        upstream="<absent>",
    ),
    Intended(
        "Metadata is an object wherever it is shown; upstream has null for a user with an imported hash and no metadata.",
        place=r"(\.body\.user_metadata|\.rows\.users\[0\]\.raw_user_meta_data)",
        request=r"POST /admin/users.*password_hash.*",
        upstream="None",
        ours="{}",
    ),
    Intended(
        "Identities are read again after a change; upstream shows them as they were before it.",
        place=r"\.body\.identities\[\d\]\.(email|identity_data\.(email|email_verified|phone|phone_verified))",
        request="PUT /admin/users.*",
    ),
    Intended(
        "A redirect's page repeats its target, tokens and all; the header is what is compared.",
        place=r"\.body",
        upstream=r"<a href=.*",
        ours=r"<a href=.*",
    ),
    Intended(
        "A redirect to or from a provider has no page at all.",
        place=r"\.(body|headers\.content-type)",
        request=r"GET /((oauth/)?authorize|callback|user/identities/authorize).*",
        upstream=r"(<a href=.*|text/html; charset=utf-8)",
        ours=r"(|<absent>)",
    ),
    Intended(
        "No cache may keep what a redirect's target holds, nor a program's tokens (RFC 6749 section 5.1).",
        place=r"\.headers\.cache-control",
        request=r"(GET|POST) /(verify|(oauth/)?authorize|callback|user/identities/authorize|oauth/token).*",
        ours="no-store",
    ),
    Intended(
        "What changes an identity moves its updated_at; upstream leaves it, so that an identity set anew is the same row.",
        place=r"\.rows\.identities",
        request="PUT /admin/users.*",
        upstream="<absent>",
    ),
    Intended(
        "Refreshing writes no row of the user: it is no sign-in, and the row is the widest that auth has.",
        place=r"\.rows\.users",
        request=r"POST /(token\?grant_type=refresh_token|oauth/token .*'grant_type': 'refresh_token').*",
        ours="<absent>",
    ),
    Intended(
        "A page of no rows is one of the default size; upstream divides by zero.",
        place=r"\.(status|body.*|headers\..*)",
        request=r"GET /admin/users\?per_page=0.*",
    ),
    Intended(
        "A page of zero is the first, and the next one is the second.",
        place=r"\.headers\.link",
        request=r"GET /admin/users\?page=0.*",
    ),
    Intended(
        "The log names the administrator who deleted a factor; upstream names its holder.",
        place=r"\.rows\.audit_log_entries\[0\]\.payload\.(actor_id|actor_username)",
        request=r"DELETE /admin/users/<uuid [^>]+>/factors/.*",
    ),
    Intended(
        "A wrong code of a factor is counted with its challenge, and an accepted one is kept there, so that it is good once.",
        place=r"\.rows\.mfa_challenges(\[\d\]\.(otp_code|web_authn_session_data))?",
        request=r"POST /factors/<uuid [^>]+>/verify.*",
        ours=r"(totp-step:\d+|.*'?tries'?.*)",
    ),
    Intended(
        "The token after a second factor names no parent: one from before it must not lead to it.",
        place=r"\.rows\.refresh_tokens\[\d\]\.parent",
        request=r"POST /factors/<uuid [^>]+>/verify.*",
        ours="None",
    ),
    Intended(
        "Using a factor writes no row of the user either.",
        place=r"\.rows\.users",
        request=r"POST /factors/<uuid [^>]+>/verify.*",
        ours="<absent>",
    ),
    Intended(
        "Where there is no SAML there is no next key; upstream compares a pointer of the wrong kind.",
        place=r"\.body\.saml_private_key_next_configured",
        upstream="True",
        ours="False",
    ),
    Intended(
        "Templates of mail get the recipient and the hash in every kind of mail, not only where the default ones use them.",
        place=r"\.mails\[\d+\]\.words\[\d+\]",
        upstream=r"(to|hash)=",
        ours=r"(to|hash)=.+",
    ),
    Intended(
        "An unknown PKCE method is told where the others are.",
        place=r"\.(status|body.*|headers.*)",
        request=r".*'code_challenge_method': 'md5'.*",
    ),
    Intended(
        "A PKCE pair that no exchange can ever fit is refused in a change of address too.",
        place=r"\..*",
        request=r"PUT /user #pair.*",
    ),
    Intended(
        "hashed_token is the one of the link in every kind of generated link; upstream's for this one opens nothing.",
        place=r"\.body\.hashed_token",
        request=r".*email_change_new.*",
    ),
    Intended(
        "Codes for phones are stored with a salt, so that a fixed one never looks the same twice.",
        place=r".*(token_hash|_token)",
        request=r".*(phone|/reauthenticate|PUT /user|GET /user).*",
        upstream=r"<hash [^>]+>",
        ours=r"<hash [^>]+>",
    ),
    Intended(
        "A typed code that was used is gone, with PKCE too.",
        place=r"\.rows\.(one_time_tokens deleted|users\[0\]\.email_change_token_(current|new))",
        request=r"POST /verify.*email_change.*",
    ),
    Intended(
        "A null in the data of a sign-up is kept in the identity; upstream leaves it out of this one answer.",
        place=r"\.body(\.user)?\.identities\[0\]\.identity_data\.\w+",
        request=r"POST /signup.*",
        upstream="<absent>",
        ours="None",
    ),
    Intended(
        "A token that was replaced keeps the time of it, so that the reuse interval ends.",
        place=r"\.rows\.refresh_tokens",
        request=r"POST /token\?grant_type=refresh_token.*",
        upstream=r".*'revoked': True.*",
    ),
    Intended(
        "A number that JSON cannot write is refused wherever it is.",
        place=r"\.(status|body.*|headers.*)",
        request=r".*1e999.*",
    ),
    Intended(
        "U+0000, which PostgreSQL cannot keep, is refused wherever it is.",
        place=r"\.(status|body.*|headers.*)",
        request=r".*\\u0000.*",
    ),
    Intended(
        "What browsers may do is told by the edge, the same for every service; credentials mean nothing with any origin.",
        place=r"\.headers\.access-control-allow-credentials",
        upstream="true",
        ours="<absent>",
    ),
    Intended(
        "The edge shows browsers the request's id too.",
        place=r"\.headers\.access-control-expose-headers",
        ours=r"x-request-id, X-Total-Count, Link, X-Supabase-Api-Version",
    ),
    Intended(
        "The edge answers a preflight with 200 and all that is allowed, as the gateway in front of upstream does.",
        place=r"\.(status|headers\.access-control-allow-(origin|methods|headers))",
        request=r"OPTIONS .*",
    ),
    Intended(
        "The id of a request is the one that the edge gave it.",
        place=r"\.body\.error_id",
        upstream=r"<uuid .*",
        ours=r"[0-9a-f]{32}",
    ),
    Intended(
        "The audience is one text, for hooks and in what they make of it too; upstream makes a list of it for them.",
        place=r"\.(body\.access_token\.claims|value\[\d\]\[1\]\.claims)\.aud",
        upstream=r"\['authenticated'\]",
        ours="authenticated",
    ),
    Intended(
        "The hook of the access token is called when the sign-in is written, so that no transaction waits for it: where it "
        "fails the session goes again, the sign-in stays in the log.",
        place=r"\.rows\.(audit_log_entries|users)",
        request=r"POST /token\?grant_type=password #.*",
        upstream="<absent>",
    ),
    Intended(
        "What is wrong with a hook's answer is told in words of our own.",
        place=r"\.body\.(msg|message)",
        request=r"POST /token\?grant_type=password #claims.*",
        upstream="output claims do not conform.*",
    ),
    Intended(
        "An error of a hook is one whatever status it names; upstream sends it with 200.",
        place=r"\.(status|body\.(code|error_code|error_id)|headers\.x-sb-error-code)",
        request=r"POST /token\?grant_type=password #claims.*",
        upstream="(200|unknown|<absent>)",
        ours="(500|unexpected_failure|[0-9a-f]{32})",
    ),
    Intended(
        "A new password takes back a change of address that was asked for under the old one, the address too.",
        place=r"\.(body\.new_(email|phone)|rows\.users\[0\]\.(email|phone)_change)",
        request=r"PUT /user.*",
        ours=r"(<absent>|)",
    ),
    Intended("A program tells its own version.", place=r"\.body\.version", request="GET /health.*"),
    Intended(
        "A provider has one name, in lower case; upstream keeps it as the caller wrote it, and users of GitHub are none of "
        "github.",
        place=r"\.rows\.flow_state\[\d+\]\.provider_type",
        request=r"GET /authorize\?provider=GitHub.*",
        upstream="GitHub",
        ours="github",
    ),
    Intended(
        "A redirect has no body; upstream writes the error behind the redirect that it answers a form with.",
        place=r"\.(body|headers\.content-type)",
        request=r"POST /callback.*",
        ours="(|<absent>)",
    ),
)


def is_a_mistake_told(upstream: JsonValue, ours: JsonValue, place: str) -> bool:
    """Whether upstream answers 500 to what is a caller's mistake, for which there is a 4xx here; the rows must be the same.

    A client takes a 5xx for something that a retry may help.
    """
    return (
        isinstance(upstream, dict)
        and isinstance(ours, dict)
        and upstream.get("status") == SERVER_ERROR
        and isinstance(status := ours.get("status"), int)
        and 400 <= status < SERVER_ERROR
        and place.startswith((".status", ".body", ".headers"))
    )


def is_intended(request: str, place: str, upstream: JsonValue, ours: JsonValue) -> bool:
    """Whether some entry covers a difference."""
    return any(entry.covers(request, place, upstream, ours) for entry in INTENDED)
