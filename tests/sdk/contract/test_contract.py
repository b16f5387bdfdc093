"""supabase-py and Isobase's client give the same results and raise the same exceptions, call by call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sdk.contract import (
    scenarios_auth,
    scenarios_client,
    scenarios_data,
    scenarios_files,
    scenarios_functions,
    scenarios_realtime,
    scenarios_wrong,
)
from tests.sdk.contract.differences import allowed_for
from tests.sdk.contract.kit import Call, Kit, Library, Mode, Place, Scenario, run
from tests.sdk.contract.shown import Shown, differences

TABLES = (
    scenarios_wrong,
    scenarios_client,
    scenarios_data,
    scenarios_auth,
    scenarios_files,
    scenarios_functions,
    scenarios_realtime,
)
SCENARIOS: tuple[Scenario, ...] = tuple(one for table in TABLES for one in table.SCENARIOS)
RUNS = [pytest.param(one, mode, id=f"{one.name}-{mode}") for one in SCENARIOS for mode in one.modes]


async def outcomes(
    scenario: Scenario, library: Library, mode: Mode, place: Place, reset: Callable[[], None]
) -> dict[str, Shown]:
    reset()
    return await run(Kit(library, mode, place), scenario.calls)


@pytest.mark.filterwarnings("ignore")  # supabase-py's own; the runner records those of each call
@pytest.mark.parametrize(("scenario", "mode"), RUNS)
async def test_both_libraries_give_and_raise_the_same(
    scenario: Scenario, mode: Mode, contract_place: Place, reset: Callable[[], None]
) -> None:
    theirs = await outcomes(scenario, "supabase", mode, contract_place, reset)
    ours = await outcomes(scenario, "isobase", mode, contract_place, reset)
    allowed = allowed_for(scenario.name, mode)
    unseen = set(allowed)
    found = []
    for call in scenario.calls:
        for path, expected, given in differences(theirs[call], ours[call]):
            covering = [one for one in allowed if one.covers(scenario.name, mode, call, path)]
            unseen -= set(covering)
            if not covering:
                found.append(f"{call}{path}\n    supabase-py: {expected!r}\n    isobase:     {given!r}")
    assert not found, f"{len(found)} differences:\n" + "\n".join(found)
    assert not unseen, f"listed and not seen: {[(one.call, one.path) for one in unseen]}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize(("first", "second"), [("supabase", "isobase"), ("isobase", "supabase")])
async def test_a_session_that_one_library_stored_is_taken_up_by_the_other(
    first: Library, second: Library, mode: Mode, contract_place: Place, reset: Callable[[], None]
) -> None:
    reset()
    writer, reader = Kit(first, mode, contract_place), Kit(second, mode, contract_place)
    sign_up = {"sign up": scenarios_client.KEPT["sign up"]}
    assert "gives" in (await run(writer, sign_up))["sign up"]
    reader.seen["kept"] = writer.seen["kept"]
    calls: dict[str, Call] = {
        "session": lambda kit: scenarios_client.kept(kit).auth.get_session(),
        "user": lambda kit: scenarios_client.kept(kit).auth.get_user(),
        "refresh": lambda kit: scenarios_client.kept(kit).auth.refresh_session(),
    }
    found = await run(reader, calls)
    assert found["session"]["gives"]["fields"]["user"]["fields"]["email"] == scenarios_client.ANN["email"]
    assert found["user"]["gives"]["fields"]["user"]["fields"]["email"] == scenarios_client.ANN["email"]
    assert found["refresh"]["gives"]["fields"]["session"] is not None
