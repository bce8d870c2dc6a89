"""TinyCDP as a provider of OpenFeature: `pip install tinycdp[openfeature]`.

    api.set_provider_and_wait(TinyCDPProvider(tinycdp.Client(...)))

The targeting key is the user id; an attribute `anonymousId` names the device. Reasons are the server's own. The
`_async` methods ask by an `AsyncClient`, so they block no event loop. Events: ready; stale while last answers stand in
for a server that is away; error while defaults do; ready again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, TypeAlias, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from ._decisions import Decision
from ._http import FAILED, Ask, exchange, headers_of, reason_of
from .async_client import AsyncClient
from .client import Client

T = TypeVar("T")

ObjectValue: TypeAlias = Sequence[FlagValueType] | Mapping[str, FlagValueType]


class TinyCDPProvider(AbstractProvider):
    """Resolves flags by a client, and sends what is tracked. The `_async` methods use `async_client`.

    Without one they make their own at the first call, with the client's address and keys. `shutdown` closes the client.
    """

    def __init__(self, client: Client, async_client: AsyncClient | None = None) -> None:
        super().__init__()
        self._client, self._async_client = client, async_client
        self._status = ProviderEvent.PROVIDER_READY
        self._lock = Lock()

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name="TinyCDP")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Returns when the server has answered.

        Raises `ProviderNotReadyError` where nobody does. Decisions are asked for all the same, and the event ready
        comes with the first answer.
        """
        try:
            exchange(
                self._client._connection(), Ask("GET", "/health", headers_of(None)), self._client.settings.timeout_s
            )
        except FAILED as error:
            self._status = ProviderEvent.PROVIDER_ERROR
            raise ProviderNotReadyError(f"TinyCDP does not answer: {reason_of(error)}") from error
        self._status = ProviderEvent.PROVIDER_READY

    def shutdown(self) -> None:
        """Sends what is queued, and closes the client; `close_async` closes the other one."""
        self._client.close()

    async def close_async(self) -> None:
        """Closes the `AsyncClient`: to be awaited in its event loop, since `shutdown` cannot."""
        if self._async_client is not None:
            await self._async_client.close()

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Queues an event of the user whom the context names; `value` is a property beside the others."""
        user, device = _ids(evaluation_context)
        properties: dict[str, Any] = {}
        if tracking_event_details is not None:
            properties |= tracking_event_details.attributes
            if tracking_event_details.value is not None:
                properties["value"] = tracking_event_details.value
        self._client.track(user, tracking_event_name, properties, anonymous_id=device)

    # ── resolving ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _resolve(self, key: str, default: T, context: EvaluationContext | None, kind: str) -> FlagResolutionDetails[T]:
        user, device = _ids(context)
        if user is None and device is None:
            return _without_key(default)
        decision = self._client.decide(user, key, default, anonymous_id=device)
        self._tell(decision, self._client._asking.is_away)
        return _details(decision, default, kind)

    async def _resolve_async(
        self, key: str, default: T, context: EvaluationContext | None, kind: str
    ) -> FlagResolutionDetails[T]:
        user, device = _ids(context)
        if user is None and device is None:
            return _without_key(default)
        if self._async_client is None:
            of = self._client.settings
            self._async_client = AsyncClient(
                of.url, None, of.read_key, of.profile_key, decide_timeout_s=of.decide_timeout_s
            )
        decision = await self._async_client.decide(user, key, default, anonymous_id=device)
        self._tell(decision, self._async_client._asking.is_away)
        return _details(decision, default, kind)

    def _tell(self, decision: Decision[Any], is_away: bool) -> None:
        """Emits an event where the server went away or came back."""
        if decision.reason == "CACHED":
            status = ProviderEvent.PROVIDER_STALE
        elif is_away:
            status = ProviderEvent.PROVIDER_ERROR
        elif decision.error is not None and decision.error_code != "FLAG_NOT_FOUND":
            return  # one failure is no outage
        else:
            status = ProviderEvent.PROVIDER_READY
        with self._lock:
            if status is self._status:
                return
            self._status = status
        is_error = status is ProviderEvent.PROVIDER_ERROR
        self.emit(
            status, ProviderEventDetails(message=decision.error, error_code=ErrorCode.GENERAL if is_error else None)
        )

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """A flag without variants, or one whose variants are booleans."""
        return self._resolve(flag_key, default_value, evaluation_context, "boolean")

    async def resolve_boolean_details_async(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """The same, without blocking."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, "boolean")

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """A flag whose variants are texts."""
        return self._resolve(flag_key, default_value, evaluation_context, "string")

    async def resolve_string_details_async(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """The same, without blocking."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, "string")

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """A flag whose variants are whole numbers."""
        return self._resolve(flag_key, default_value, evaluation_context, "integer")

    async def resolve_integer_details_async(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """The same, without blocking."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, "integer")

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """A flag whose variants are numbers."""
        return self._resolve(flag_key, default_value, evaluation_context, "float")

    async def resolve_float_details_async(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """The same, without blocking."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, "float")

    def resolve_object_details(
        self, flag_key: str, default_value: ObjectValue, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[ObjectValue]:
        """A flag whose variants are objects or lists."""
        return self._resolve(flag_key, default_value, evaluation_context, "object")

    async def resolve_object_details_async(
        self, flag_key: str, default_value: ObjectValue, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[ObjectValue]:
        """The same, without blocking."""
        return await self._resolve_async(flag_key, default_value, evaluation_context, "object")


def _ids(context: EvaluationContext | None) -> tuple[str | None, str | None]:
    """The user id and the anonymous id that a context names."""
    if context is None:
        return None, None
    device = context.attributes.get("anonymousId")
    return context.targeting_key or None, str(device) if device else None


def _without_key(default: T) -> FlagResolutionDetails[T]:
    message = "the context has neither a targeting key nor anonymousId"
    return FlagResolutionDetails(default, ErrorCode.TARGETING_KEY_MISSING, message, "ERROR")


def _details(decision: Decision[Any], default: T, kind: str) -> FlagResolutionDetails[T]:
    if decision.error is not None and decision.error_code is not None:
        return FlagResolutionDetails(default, ErrorCode(decision.error_code), decision.error, "ERROR")
    value = decision.value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {
        "boolean": isinstance(value, bool),
        "string": isinstance(value, str),
        "integer": is_number and float(value).is_integer(),
        "float": is_number,
        "object": isinstance(value, (dict, list)),
    }
    if not fits[kind]:
        message = f"the value is a {type(value).__name__}, not a {kind}"
        return FlagResolutionDetails(default, ErrorCode.TYPE_MISMATCH, message, "ERROR")
    if kind in ("integer", "float"):
        value = int(value) if kind == "integer" else float(value)
    return FlagResolutionDetails(value, reason=decision.reason, variant=decision.variant)
