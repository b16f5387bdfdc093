"""Which stage holds for a call: shares, users, files, other providers, and values that make no sense."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from isobase_adapter.capabilities import Capability, Kind
from isobase_adapter.contracts import Event, Flag, Snapshot, Writer
from isobase_adapter.control.errors import NothingKnown
from isobase_adapter.flags.file import FileFlags
from isobase_adapter.flags.keys import capability_of, flag_key, flag_keys
from isobase_adapter.flags.provider import IsobaseProvider, OpenFeatureFlags
from isobase_adapter.flags.shares import place_of, stage_for
from isobase_adapter.flags.stages import FlagUnclear, Stages
from isobase_adapter.sides import Side
from isobase_adapter.stages import Stage

ORDERS = Capability(Kind.TABLE, "public.orders")
AUTH = Capability(Kind.AUTH)


class Held:
    """A control store that holds what a test says."""

    def __init__(self, *flags: Flag, writers: tuple[Writer, ...] = ()) -> None:
        self.snapshot = Snapshot({flag.pattern: flag for flag in flags}, {each.pattern: each for each in writers})
        self.events: list[Event] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def reload(self) -> Snapshot:
        return self.snapshot

    def on_change(self, listener: Callable[[Snapshot], None]) -> Callable[[], None]:
        return lambda: None

    def tell(self, event: Event) -> None:
        self.events.append(event)

    def count(self, capability: str, name: str, value: int = 1) -> None: ...


def flag(
    stage: Stage, before: Stage, share: float = 100, pattern: str = str(ORDERS), users: tuple[str, ...] = ()
) -> Flag:
    return Flag(pattern, stage, before, share, frozenset(users))


USERS = [f"user-{number}" for number in range(4000)]


@pytest.mark.parametrize("share", [0, 1, 25, 99, 100])
def test_a_share_takes_about_so_many_users(share: float) -> None:
    live = sum(stage_for(flag(Stage.LIVE, Stage.SHADOW_READ, share), user) is Stage.LIVE for user in USERS)
    assert live / len(USERS) * 100 == pytest.approx(share, abs=3)
    if share in (0, 100):
        assert live == len(USERS) * share / 100


def test_a_growing_share_keeps_who_is_in_and_each_flag_has_its_own_order() -> None:
    def among(share: float, pattern: str = str(ORDERS)) -> set[str]:
        one = flag(Stage.LIVE, Stage.SHADOW_READ, share, pattern)
        return {user for user in USERS if stage_for(one, user) is Stage.LIVE}

    assert among(5) < among(20) < among(60)
    assert among(20) != among(20, "auth")
    # The line is the same in every process and release: users must not change sides.
    assert [round(place_of("auth", user), 2) for user in ("a", "b", "c")] == [14.75, 48.49, 61.5]


def test_listed_users_are_in_whatever_the_share() -> None:
    one = flag(Stage.LIVE, Stage.SHADOW_READ, 0, users=("ann",))
    assert (stage_for(one, "ann"), stage_for(one, "bob")) == (Stage.LIVE, Stage.SHADOW_READ)


def test_the_most_specific_pattern_decides_and_none_means_off() -> None:
    held = Held(
        flag(Stage.DUAL_WRITE, Stage.OFF, pattern="*"),
        flag(Stage.LIVE, Stage.SHADOW_READ),
        writers=(Writer("*"), Writer(str(ORDERS), Side.ISOBASE, 4)),
    )
    stages = Stages(held)
    assert stages.decide(ORDERS).writer == Writer(str(ORDERS), Side.ISOBASE, 4)
    assert (stages.stage_of(ORDERS), stages.stage_of(AUTH)) == (Stage.LIVE, Stage.DUAL_WRITE)
    empty = Stages(Held())
    assert (empty.stage_of(ORDERS, "ann"), empty.writer_of(ORDERS)) == (Stage.OFF, Writer(str(ORDERS)))


def test_a_new_snapshot_is_acted_upon_at_once() -> None:
    held = Held(flag(Stage.DUAL_WRITE, Stage.OFF))
    stages = Stages(held)
    assert stages.stage_of(ORDERS) is Stage.DUAL_WRITE
    held.snapshot = Snapshot({str(ORDERS): flag(Stage.SHADOW_READ, Stage.DUAL_WRITE)}, version=1)
    assert stages.stage_of(ORDERS) is Stage.SHADOW_READ


def test_who_is_not_signed_in_is_always_on_the_same_side() -> None:
    stages = Stages(Held(flag(Stage.LIVE, Stage.SHADOW_READ, 50)))
    assert len({stages.stage_of(ORDERS) for _ in range(50)}) == 1


def test_a_decision_takes_microseconds_from_many_threads() -> None:
    stages = Stages(Held(flag(Stage.LIVE, Stage.SHADOW_READ, 50)))
    wrong: list[BaseException] = []

    def ask() -> None:
        try:
            for number in range(2000):
                assert stages.stage_of(ORDERS, f"user-{number}") in (Stage.LIVE, Stage.SHADOW_READ)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    # A few microseconds each where the machine is free; the bound is for one that is not.
    assert (time.perf_counter() - began) / 8000 < 0.001


@pytest.mark.parametrize(
    ("capability", "key"),
    [
        (ORDERS, "isobase.table.public.orders"),
        (AUTH, "isobase.auth"),
        (Capability(Kind.BUCKET, "my files"), "isobase.bucket.my_x20_files"),
        (Capability(Kind.BUCKET, "a_x20_b"), "isobase.bucket.a_x5f_x20_b"),
        (Capability(Kind.RPC, "shop.Größe"), "isobase.rpc.shop.Gr_xf6__xdf_e"),
    ],
)
def test_a_capability_has_one_key_that_flag_systems_take(capability: Capability, key: str) -> None:
    assert flag_key(capability) == key
    assert capability_of(key) == capability


@pytest.mark.parametrize("key", ["isobase", "isobase.table", "isobase.auth.x", "isobase.nothing.x", "other.auth"])
def test_other_keys_mean_no_capability(key: str) -> None:
    assert capability_of(key) is None


def test_wider_keys_are_asked_after_a_capabilitys_own() -> None:
    assert list(flag_keys(ORDERS)) == [
        "isobase.table.public.orders",
        "isobase.table.public",
        "isobase.table",
        "isobase",
    ]
    assert list(flag_keys(AUTH)) == ["isobase.auth", "isobase"]


class Other:
    """Another provider's flags, which a test changes."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.error: Exception | None = None

        def evaluated(_: InMemoryFlag[str], context: EvaluationContext) -> FlagResolutionDetails[str]:
            if self.error is not None:
                raise self.error
            return FlagResolutionDetails(self.values.get(context.targeting_key or "", self.values["default"]))

        self.provider = InMemoryProvider(
            {"isobase.table.public": InMemoryFlag("x", {"x": ""}, context_evaluator=evaluated)}
        )


@pytest.fixture
def other() -> Iterator[Other]:
    yield Other()
    api.clear_providers()


def test_any_openfeature_provider_decides_for_each_user(other: Other) -> None:
    other.values = {"default": "dual_write", "ann": "shadow_read"}
    stages = Stages(Held(), OpenFeatureFlags(other.provider))
    assert (stages.stage_of(ORDERS, "ann"), stages.stage_of(ORDERS, "bob")) == (Stage.SHADOW_READ, Stage.DUAL_WRITE)
    assert stages.stage_of(AUTH, "ann") is Stage.OFF
    stages.close()


@pytest.mark.parametrize("trouble", ["value", "error"])
def test_a_providers_nonsense_leaves_the_last_known_stage_and_is_told_once(other: Other, trouble: str) -> None:
    held = Held()
    stages = Stages(held, OpenFeatureFlags(other.provider))
    other.values = {"default": "live"}
    assert stages.stage_of(ORDERS, "ann") is Stage.LIVE
    if trouble == "value":
        other.values = {"default": "sideways"}
    else:
        other.error = ConnectionError("gone")
    assert [stages.stage_of(ORDERS, "ann") for _ in range(3)] == [Stage.LIVE] * 3
    assert [event.name for event in held.events] == ["flag_unclear"]
    stages.close()


def test_a_provider_that_never_made_sense_chooses_no_side(other: Other) -> None:
    other.values = {"default": "sideways"}
    stages = Stages(Held(), OpenFeatureFlags(other.provider))
    with pytest.raises(NothingKnown, match="never known"):
        stages.stage_of(ORDERS)
    bounded = Stages(Held(flag(Stage.LIVE, Stage.SHADOW_READ, 0)), OpenFeatureFlags(other.provider))
    assert bounded.stage_of(ORDERS) is Stage.SHADOW_READ


def test_a_provider_stays_within_what_the_control_store_allows(other: Other) -> None:
    held = Held(flag(Stage.SHADOW_READ, Stage.DUAL_WRITE, 0))
    stages = Stages(held, OpenFeatureFlags(other.provider))
    for said, acted in (("off", "dual_write"), ("shadow_read", "shadow_read"), ("complete", "shadow_read")):
        other.values = {"default": said}
        assert stages.stage_of(ORDERS) == acted
    assert [event.name for event in held.events] == ["flag_out_of_bounds"] * 2


def test_our_flags_are_there_for_every_openfeature_client() -> None:
    held = Held(flag(Stage.LIVE, Stage.SHADOW_READ, 0, users=("ann",)), writers=(Writer(str(ORDERS), Side.ISOBASE),))
    api.set_provider(IsobaseProvider(Stages(held)), "ours")
    try:
        client = api.get_client("ours")
        ann = client.get_string_details("isobase.table.public.orders", "?", EvaluationContext("ann"))
        assert (ann.value, ann.variant, ann.reason) == ("live", "live", Reason.SPLIT)
        assert ann.flag_metadata == {"writer": "isobase", "version": 0}
        assert client.get_string_value("isobase.table.public.orders", "?", EvaluationContext("bob")) == "shadow_read"
        assert client.get_string_value("isobase.auth", "?") == "off"
        assert client.get_string_details("isobase.else", "?").error_code is ErrorCode.FLAG_NOT_FOUND
        assert client.get_boolean_details("isobase.auth", True).error_code is ErrorCode.TYPE_MISMATCH
    finally:
        api.clear_providers()


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a file, with a time of its own."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value))
    os.replace(new, path)


def test_a_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "flags.json"
    write(path, {"flags": {"orders": "dual_write"}, "rules": {"table:orders": {"ignore_columns": ["at"]}}})
    flags = FileFlags(path, look_every_s=0)
    stages = Stages(Held(), flags)
    assert (stages.stage_of(ORDERS), stages.stage_of(AUTH)) == (Stage.DUAL_WRITE, Stage.OFF)
    assert flags.rules == {str(ORDERS): {"ignore_columns": ["at"]}}
    partly = {"stage": "shadow_read", "before": "dual_write", "share_percent": 0, "users": ["ann"]}
    write(path, {"flags": {"orders": partly}})
    assert (stages.stage_of(ORDERS, "ann"), stages.stage_of(ORDERS, "bob")) == (Stage.SHADOW_READ, Stage.DUAL_WRITE)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"orders": "live"}, "one at a time"),
        ({}, None),
        ({"orders": "sideways"}, "is not a stage"),
        ({"orders": {"stage": "shadow_read", "share_percent": 5}}, "needs before"),
        ({"orders": {"stage": "shadow_read", "share_percent": 500}}, "from 0 to 100"),
        ({"orders": {"stage": "shadow_read", "shares": 5}}, "a flag is a stage"),
        ({"a*b": "dual_write"}, "not a capability"),
    ],
)
def test_a_file_that_makes_no_sense_leaves_the_last_flags_in_force(
    tmp_path: Path, flags: Mapping[str, Any], says: str | None
) -> None:
    path = tmp_path / "flags.json"
    write(path, {"flags": {"orders": "dual_write"}})
    source, held = FileFlags(path, look_every_s=0), Held()
    stages = Stages(held, source)
    assert stages.stage_of(ORDERS) is Stage.DUAL_WRITE
    write(path, {"flags": flags})
    if says is None:
        assert stages.stage_of(ORDERS) is Stage.OFF
        return
    assert stages.stage_of(ORDERS) is Stage.DUAL_WRITE
    with pytest.raises(FlagUnclear, match=says):
        source.stage_of(ORDERS, "ann")
    path.unlink()
    assert stages.stage_of(ORDERS) is Stage.DUAL_WRITE
    write(path, {"flags": {"orders": "shadow_read"}})
    assert stages.stage_of(ORDERS) is Stage.SHADOW_READ


def test_toml_is_read_too_and_a_missing_file_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "flags.toml"
    with pytest.raises(FileNotFoundError):
        FileFlags(path)
    path.write_text('[flags]\n"table:shop.*" = { stage = "live", before = "shadow_read", share_percent = 10 }\n')
    assert FileFlags(path).flags["table:shop.*"].share_percent == 10
