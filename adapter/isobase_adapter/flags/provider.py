"""OpenFeature both ways: our flags as a provider for any OpenFeature client, and any provider's flags for the adapter.

The evaluation context's targeting key is the user's id; a flag's value is the name of a stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, FlagNotFoundError, GeneralError, ProviderNotReadyError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, FeatureProvider, Metadata

from isobase_adapter.capabilities import Capability
from isobase_adapter.control.errors import NothingKnown
from isobase_adapter.flags.keys import DEFAULT_PREFIX, capability_of, flag_keys
from isobase_adapter.flags.stages import FlagUnclear, Stages
from isobase_adapter.reasons import reason_of
from isobase_adapter.stages import Stage

__all__ = ["IsobaseProvider", "OpenFeatureFlags"]

UNKNOWN = "unknown"


class IsobaseProvider(AbstractProvider):
    """Stages for OpenFeature clients: ``isobase.table.public.orders`` has the value ``live``.

    stages: from ``client.migration``. prefix: of the keys.
    """

    def __init__(self, stages: Stages, *, prefix: str = DEFAULT_PREFIX) -> None:
        """Ask nothing yet."""
        super().__init__()
        self._stages = stages
        self._prefix = prefix

    def get_metadata(self) -> Metadata:
        """Give the provider's name."""
        return Metadata(name="isobase")

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Give a capability's stage.

        Raises OpenFeature's errors for keys that are none, and while nothing is known.
        """
        capability = capability_of(flag_key, self._prefix)
        if capability is None:
            raise FlagNotFoundError(f"{flag_key!r} is no capability")
        user = evaluation_context.targeting_key if evaluation_context is not None else None
        try:
            decision = self._stages.decide(capability, user)
        except NothingKnown as error:
            raise ProviderNotReadyError(str(error)) from error
        return FlagResolutionDetails(
            value=str(decision.stage),
            variant=str(decision.stage),
            reason=Reason.STATIC if self._stages.holds_for_all(capability) else Reason.SPLIT,
            flag_metadata={"writer": str(decision.writer.side), "version": decision.snapshot.version},
        )

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Raise: a stage is a string."""
        _refuse(flag_key)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Raise: a stage is a string."""
        _refuse(flag_key)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Raise: a stage is a string."""
        _refuse(flag_key)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Raise: a stage is a string."""
        _refuse(flag_key)


class OpenFeatureFlags:
    """Another provider's flags as a source for ``Stages``.

    provider: an OpenFeature provider, which gets a domain of its own and is ended by ``close``, or a client that the
    app made and keeps. prefix: of the keys.
    """

    def __init__(self, provider: FeatureProvider | OpenFeatureClient, *, prefix: str = DEFAULT_PREFIX) -> None:
        """Set the provider up; it is initialised, which may wait for its service."""
        self._prefix = prefix
        self._owned: FeatureProvider | None = None
        if isinstance(provider, OpenFeatureClient):
            self._client = provider
        else:
            domain = f"isobase-migration-{id(provider):x}"
            api.set_provider(provider, domain)
            self._client = api.get_client(domain)
            self._owned = provider

    def stage_of(self, capability: Capability, user: str) -> Stage | None:
        """Give the stage, or None where the provider has no flag for the capability. Raises ``FlagUnclear``."""
        context = EvaluationContext(targeting_key=user, attributes={"capability": str(capability)})
        for key in flag_keys(capability, self._prefix):
            details = self._client.get_string_details(key, UNKNOWN, context)
            if details.error_code == ErrorCode.FLAG_NOT_FOUND:
                continue
            if details.error_code is not None:
                raise FlagUnclear(f"{key}: {details.error_code}: {details.error_message or ''}".rstrip(": "))
            try:
                return Stage(details.value)
            except ValueError:
                raise FlagUnclear(f"{key}: {details.value!r} is not a stage") from None
        return None

    def close(self) -> None:
        """End the provider, if it was given to this alone."""
        owned, self._owned = self._owned, None
        if owned is not None:
            try:
                owned.shutdown()
            except Exception as error:
                raise GeneralError(f"the flag provider did not end well: {reason_of(error)}") from error


def _refuse(flag_key: str) -> NoReturn:
    raise TypeMismatchError(f"{flag_key!r}: a stage is a string")
