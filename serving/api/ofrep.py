"""OpenFeature's remote evaluation protocol, OFREP 0.3: every OpenFeature SDK asks flags here, without code of ours.

Some answers are stricter than OFREP asks, because published providers fail otherwise. Each such place says so, and
`docs/openfeature.md` lists them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.convertors import StringConvertor, register_url_convertor

from serving.access.keys import Caller, Permission
from serving.api.decisions import decisions, state_of
from serving.api.dependencies import reached_at
from serving.api.permissions import permission
from serving.api.stream_address import decided_with_stream
from serving.api.wire.ofrep import ErrorCode, OfrepBulk, OfrepFailure, OfrepSuccess, OfrepTrouble
from serving.definitions.flags import Flag
from serving.engine import RETRY_AFTER_S, Engine
from serving.http.answers import Ready, json_answer, json_text, reason_of, refusal_answer, refusal_body
from serving.http.bodies import body_of
from serving.http.conditions import client_has
from serving.ids import ANONYMOUS_FIELDS, Ids, checked_record, identifier, raw_id
from serving.people.decide import Reason
from serving.people.decided import Decided
from serving.refusals import Invalid, Refusal, Unavailable, cut

#: The reasons that OFREP has. It has fewer than OpenFeature: any other is UNKNOWN, and stands in full in the metadata.
REASONS: Mapping[Reason, str] = {
    "STATIC": "STATIC",
    "TARGETING_MATCH": "TARGETING_MATCH",
    "SPLIT": "SPLIT",
    "DISABLED": "DISABLED",
}

#: A page that nobody looks at for so long closes its stream; it asks again when it is looked at.
INACTIVITY_DELAY_S = 120

#: Headers of a refusal that stay when it is put into OFREP's words.
KEPT_HEADERS = ("retry-after", "x-ratelimit-reset", "www-authenticate")

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": OfrepFailure},
    401: {"model": OfrepTrouble},
    403: {"model": OfrepTrouble},
    429: {"model": OfrepTrouble},
    500: {"model": OfrepTrouble},
    503: {"model": OfrepTrouble},
}
_ETAG = {"ETag": {"description": "changes with the answers", "schema": {"type": "string"}}}
router = APIRouter(prefix="/ofrep/v1/evaluate", tags=["OpenFeature"], responses=_ERRORS)
#: The same for providers whose base URL ends with a slash: some put their path behind it as it is.
lenient = APIRouter(prefix="//ofrep/v1/evaluate", include_in_schema=False)


class AnyConvertor(StringConvertor):
    """`{key:any}`: the rest of a path, slashes and ends of lines too."""

    regex = "(?s:.*)"


register_url_convertor("any", AnyConvertor())

_EVALUATE = permission("POST", "/ofrep/v1/evaluate/flags/{key}")
_EVALUATE_ALL = permission("POST", "/ofrep/v1/evaluate/flags")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class EvaluationFailed(Exception):
    """A flag, or a whole request, has no answer. OFREP says so with an error code."""

    def __init__(self, code: ErrorCode, details: str) -> None:
        self.code: ErrorCode = code
        self.details = details
        super().__init__(details)

    def body(self, key: str | None) -> dict[str, Any]:
        """The error in OFREP's words. `errorDetails` is always there: providers read it without a look."""
        return {**({} if key is None else {"key": key}), "errorCode": self.code, "errorDetails": self.details}


Evaluation: TypeAlias = Callable[[Request], Awaitable[Response]]


def _in_ofrep_words(evaluate: Evaluation) -> Evaluation:
    """The same endpoint, with its refusals in OFREP's words."""

    @wraps(evaluate)
    async def answer(request: Request) -> Response:
        try:
            return await evaluate(request)
        except EvaluationFailed as failure:
            status = 404 if failure.code == "FLAG_NOT_FOUND" else 400
            return json_answer(failure.body(request.path_params.get("key")), status)
        except Refusal as refusal:
            usual = refusal_answer(refusal)
            headers = {name: usual.headers[name] for name in KEPT_HEADERS if name in usual.headers}
            body = refusal_body(refusal) | {"errorDetails": refusal.message}
            return json_answer(body, usual.status_code, headers, reason_of(refusal))

    return answer


@lenient.post("/flags/{key:any}")
@router.post(
    "/flags/{key:any}",
    responses={200: {"model": OfrepSuccess}, 404: {"model": OfrepFailure}},
)
@_in_ofrep_words
async def evaluate_flag(request: Request) -> Response:
    """One flag for the user whom `targetingKey` names. A flag that depends on no user needs no key.

    All that follows in the path is the flag's key, slashes too, so that a key that no flag can have is an unknown flag.
    """
    engine, caller = await _admitted(request, _EVALUATE)
    key = request.path_params["key"]
    ids = await _ids(engine, request)
    decided = await decisions(engine, caller, ids, (key,))
    if key not in decided.flags:
        if not decided.asof:  # the flag may be newer than what this process knows
            raise Unavailable("definitions are away", {"remedy": "try again"}, RETRY_AFTER_S)
        raise EvaluationFailed("FLAG_NOT_FOUND", f"Flag '{cut(key)}' not found")
    return json_answer(wire_evaluation(decided, key, ids))


@lenient.post("/flags")
@router.post(
    "/flags",
    responses={
        200: {"model": OfrepBulk, "headers": _ETAG},
        304: {"description": "the answers that the client has still hold", "headers": _ETAG},
    },
)
@_in_ofrep_words
async def evaluate_flags(request: Request) -> Response:
    """Every flag for a user, with an ETag that changes with the answers: by a definition, an event, or time alone.

    `eventStreams` says where the client hears of a change. `flagConfigEtag`, with which it then comes, asks for an
    answer that is no older than that: each is read anew, so every answer is as new.
    """
    engine, caller = await _admitted(request, _EVALUATE_ALL)
    ids = await _ids(engine, request)
    decided, path = await decided_with_stream(request, caller, "ofrep", ids, decisions(engine, caller, ids, None))
    flags = _flags(decided, ids)
    if not decided.asof:  # defaults, since something is away: no client may cache them
        return json_text(b'{"flags":%b}' % flags, [(b"cache-control", b"no-store")])
    tag = etag_of(decided, ids, flags, with_stream=path is not None)
    headers = [(b"etag", tag.encode()), (b"cache-control", b"private, no-cache")]
    if client_has(request.headers.get("if-none-match"), tag):
        return Ready(b"", 304, headers)
    streams = b"" if path is None else b',"eventStreams":%b' % _encode([_event_stream(request, path)])
    return json_text(b'{"flags":%b%b}' % (flags, streams), headers)


def _flags(decided: Decided, ids: Ids) -> bytes:
    """The answers of all flags as JSON. A flag without an answer says why.

    One that was deleted after another process decided it, and before this one looked at the definitions, is left out.
    """
    items = []
    for key in decided.decisions:
        if key not in decided.flags:
            continue
        try:
            items.append(wire_evaluation(decided, key, ids))
        except EvaluationFailed as failure:
            items.append(failure.body(key))
    return _encode(items)


def _event_stream(request: Request, path: str) -> dict[str, Any]:
    """Where the client hears of changes, in the shape of `OfrepEventStream`.

    The address is a whole one: providers open it as it is, on a page of another origin.
    """
    return {"type": "sse", "url": f"{reached_at(request)}{path}", "inactivityDelaySec": INACTIVITY_DELAY_S}


def wire_evaluation(decided: Decided, key: str, ids: Ids) -> dict[str, Any]:
    """The answer of a flag in the shape of `OfrepSuccess`. No field is ever left out: providers fail without them.

    Raises `EvaluationFailed` where the answer depends on a user and none is named.
    """
    decision, flag = decided.decisions[key], decided.flags[key]
    if not ids.strongest_first and decision.reason not in ("STATIC", "DISABLED", "ERROR"):
        raise EvaluationFailed("TARGETING_KEY_MISSING", f"flag '{key}' depends on the user: send targetingKey")
    return {
        "key": key,
        "value": _typed(decision.value, flag),
        "reason": REASONS.get(decision.reason, "UNKNOWN"),
        "variant": decision.variant or ("on" if decision.allow else "off"),
        "metadata": {"reason": decision.reason},
    }


def _typed(value: Any, flag: Flag) -> Any:
    """The value. Where one variant of the flag is a fraction, each number has a point, as typed clients need."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if any(isinstance(variant, float) for variant in flag.values.values()) else value
    return value


def etag_of(decided: Decided, ids: Ids, flags: bytes, *, with_stream: bool) -> str:
    """A tag of the ids, the flags' versions, each id's last seq, and all answers: it changes with any answer.

    An answer without the address of a stream has another one, so that no 304 keeps a client at such an address, or at
    none.
    """
    rests_on = repr((ids, state_of(decided), with_stream)).encode()
    return f'"{blake2b(rests_on + flags, digest_size=16).hexdigest()}"'


def tag_with_stream(decided: Decided, ids: Ids) -> str:
    """The tag of the answer with these decisions, where it has the address of a stream."""
    return etag_of(decided, ids, _flags(decided, ids), with_stream=True)


async def _admitted(request: Request, needed: Permission) -> tuple[Engine, Caller]:
    engine: Engine = request.app.state.engine
    caller = await engine.require(request.headers.get("authorization"), request.headers.get("x-api-key"), needed)
    return engine, caller


async def _ids(engine: Engine, request: Request) -> Ids:
    """The ids that a request's context names: `targetingKey`, and the device beside it; none without a key.

    Raises `EvaluationFailed`.
    """
    try:
        body = _decode(await body_of(request, engine.settings.event_bytes_max))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EvaluationFailed("PARSE_ERROR", f"the body is no JSON: {error}") from None
    except Invalid as refusal:
        raise EvaluationFailed("PARSE_ERROR", refusal.message) from None
    if not isinstance(body, dict):
        raise EvaluationFailed("PARSE_ERROR", 'send {"context": {"targetingKey": "…"}}')
    context = body.get("context")
    if context is None:
        return Ids()
    if not isinstance(context, dict):
        raise EvaluationFailed("INVALID_CONTEXT", "context: send a JSON object")
    if not isinstance(context.get("targetingKey"), (str, type(None))):
        raise EvaluationFailed("INVALID_CONTEXT", "targetingKey: send a string")
    try:
        key: str = context.get("targetingKey") or ""
        device = identifier(context, *ANONYMOUS_FIELDS)
        if not key.strip():
            return Ids()
        kind, value = raw_id(checked_record("targetingKey", key))
    except Invalid as refusal:
        raise EvaluationFailed("INVALID_CONTEXT", refusal.message) from None
    match kind:
        case "user":
            return Ids(value, device)
        case "anon":
            return Ids(anonymous=value)
        case "email":
            return Ids(email=value)
