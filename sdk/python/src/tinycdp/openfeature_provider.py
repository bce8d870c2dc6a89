"""TinyCDP as a provider of OpenFeature: `pip install tinycdp[openfeature]`.

    api.set_provider_and_wait(TinyCDPProvider(tinycdp.Client(...)))

The targeting key is the user id; an attribute `anonymousId` names the device. Reasons are the server's own. The
`_async` methods block no event loop. Events: ready; stale while last answers stand in for a server that is away; error
while defaults do; ready again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, TypeAlias, TypeVar

import httpx2
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from ._asking import ask_async
from ._decisions import Decision, fallback, fitted
from ._http import FAILED, Ask, client_arguments, exchange, headers_of, reason_of
from ._questions import one_flag
from .client import Client

T = TypeVar("T")

ObjectValue: TypeAlias = Sequence[FlagValueType] | Mapping[str, FlagValueType]


class TinyCDPProvider(AbstractProvider):
    """Resolves flags by a client, and sends what is tracked. `shutdown` closes the client.

    The `_async` methods may be awaited in any event loop, also in several at once. They share the client's answers, and
    have connections of their own in each loop.
    """

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self._https: dict[asyncio.AbstractEventLoop, httpx2.AsyncClient] = {}
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
        """Sends what is queued, and closes the client; `close_async` closes the connections of an event loop."""
        self._client.close()

    async def close_async(self) -> None:
        """Closes the connections of the running event loop: to be awaited there, since `shutdown` cannot."""
        with self._lock:
            http = self._https.pop(asyncio.get_running_loop(), None)
        if http is not None:
            await http.aclose()

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
        return self._told(decision, default, kind)

    async def _resolve_async(
        self, key: str, default: T, context: EvaluationContext | None, kind: str
    ) -> FlagResolutionDetails[T]:
        user, device = _ids(context)
        if user is None and device is None:
            return _without_key(default)
        settings = self._client.settings
        deadline_s = time.monotonic() + settings.decide_timeout_s
        question = one_flag(user, device, key, explain=False)
        outcome = await ask_async(self._client._asking, self._connection(), settings.asking_key, question, deadline_s)
        found = outcome.decisions
        decision = fitted(found[0], default) if found else fallback(key, default, outcome.error, code=outcome.code)
        return self._told(decision, default, kind)

    def _connection(self) -> httpx2.AsyncClient:
        """The connections of the running event loop. Those of loops that were closed are forgotten."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._https:
                self._https = {one: http for one, http in self._https.items() if not one.is_closed()}
                settings = self._client.settings
                self._https[loop] = httpx2.AsyncClient(**client_arguments(settings.url, settings.timeout_s))
            return self._https[loop]

    def _told(self, decision: Decision[Any], default: T, kind: str) -> FlagResolutionDetails[T]:
        self._tell(decision)
        return _details(decision, default, kind)

    def _tell(self, decision: Decision[Any]) -> None:
        """Emits an event where the server went away or came back."""
        if decision.reason == "CACHED":
            status = ProviderEvent.PROVIDER_STALE
        elif self._client._asking.is_away:
            status = ProviderEvent.PROVIDER_ERROR
        elif decision.error is not None and decision.error_code == "GENERAL":
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
