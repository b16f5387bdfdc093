"""What upstream's servers answer otherwise than the tests of the client expect of Isobase, each with its reason.

By part of the client and test. None of it is the client's doing: each was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["DIFFERENT"]

_CODES = "PostgREST 12 has other codes for what is not there; those that Isobase gives came with 13 and 14"
_NO_ACME = "GoTrue has no provider by a plain name of one's choice; tests/sdk/auth/upstream has its custom providers"
_NO_REPLAY = (
    "supabase/realtime keeps no row changes for who was away; the client tells of the gap, which the test refuses"
)

DIFFERENT: Mapping[tuple[str, str], str] = {
    ("postgrest", "test_a_stream_that_is_refused_raises"): _CODES,
    ("postgrest", "test_an_error_carries_what_the_server_said"): _CODES,
    (
        "postgrest",
        "test_a_write_that_would_touch_too_many_rows_is_refused",
    ): "max-affected has its code since PostgREST 13",
    (
        "postgrest",
        "test_a_function_is_called_with_post_get_and_head",
    ): "PostgREST 12.0.2 filters a function's rows by the columns that are selected only",
    ("auth", "test_a_providers_id_token_signs_in"): _NO_ACME,
    ("auth", "test_the_address_of_a_provider_leads_to_its_sign_in_page"): _NO_ACME,
    ("auth", "test_an_identity_is_linked_listed_and_unlinked"): _NO_ACME,
    ("realtime", "test_no_change_is_missed_or_doubled_over_lost_connections"): _NO_REPLAY,
    ("realtime", "test_the_sync_client_misses_no_change_over_lost_connections"): _NO_REPLAY,
    ("realtime", "test_no_change_is_missed_when_the_network_goes_silent"): _NO_REPLAY,
    ("realtime", "test_a_position_that_is_not_kept_is_told_as_a_gap"): _NO_REPLAY,
    (
        "realtime",
        "test_a_confirmed_broadcast_comes_back_where_the_channel_wants_it",
    ): "the test's limit of 20,000 bytes is a setting; the tenant allows 3 MB",
    (
        "realtime",
        "test_a_broadcast_over_http_reaches_who_is_joined",
    ): "without the gateway that checks keys, a bearer that is no token is answered 500",
    ("realtime", "test_a_thousand_channels_join_and_join_again"): "a tenant's sockets have 100 channels by default",
}
