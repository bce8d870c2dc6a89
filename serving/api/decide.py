"""Decisions over HTTP in our own words: one flag, or many for one person.

An answer carries an ETag of its text, the flags' versions and each id's last seq. A client that asks again gets 304
until the person sends something, a flag is changed, or a decision changes by time alone. A flag with `cache_seconds`
lets clients not ask for so long; an answer about many flags is kept as long as the one that is kept shortest.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import Response

from expressions.live.changes import NoInstant
from serving.access.keys import key_in_query
from serving.api.decisions import decisions, state_of
from serving.api.dependencies import NOT_FOUND
from serving.api.permissions import permission
from serving.api.stream_address import decided_with_stream
from serving.api.wire.flags import DecidedOut, StreamedDecisionsOut, wire_decision
from serving.definitions.flags import Flag
from serving.engine import Engine
from serving.http.answers import Ready, json_text
from serving.http.bodies import body_of
from serving.http.conditions import client_has
from serving.ids import ID_CHARACTERS_MAX, Ids, identifier, ids_in
from serving.people.decide import Decision
from serving.people.decided import Decided
from serving.refusals import Invalid, NotFound, cut, invalid

router = APIRouter(tags=["users"])
_ETAG = {"ETag": {"description": "changes with the answer", "schema": {"type": "string"}}}
_NOT_MODIFIED: dict[str, Any] = {"description": "the answer that the client has still holds", "headers": _ETAG}

#: Flags that one request may name.
FLAGS_MAX = 1_000

_DECIDE, _DECIDE_MANY = permission("GET", "/v1/decide"), permission("POST", "/v1/decide")

#: Behind the tagged part of an answer with the address of a stream: an answer without it has another tag.
_STREAM = b"stream"

_NOT_CACHED = [(b"cache-control", b"no-store")]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


# ── one flag ─────────────────────────────────────────────────────────────────────────────────────────────────────


@router.get(
    "/v1/decide",
    responses={200: {"model": DecidedOut, "headers": _ETAG}, 304: _NOT_MODIFIED, **NOT_FOUND},
)
async def decide(request: Request) -> Response:
    """Whether a flag is on for a user, and why. A broken dependency gives the flag's default and reason ERROR."""
    engine: Engine = request.app.state.engine
    in_query = key_in_query(request.scope["query_string"])
    caller = await engine.require(request.headers.get("authorization"), in_query, _DECIDE)
    query = request.query_params
    ids = ids_in(query)
    user = _required(ids.user or ids.email or ids.anonymous, "userId", "INVALID_USER_ID")
    key = _required(query.get("flag"), "flag", "INVALID_FLAG_KEY")
    decided = await decisions(engine, caller, ids, (key,), query.get("explain") in ("true", "1"))
    flag, decision = decided.flags.get(key), decided.decisions[key]
    if flag is None and decided.asof:  # else the flag may be newer than what this process knows
        raise NotFound(f"Flag '{cut(key)}' not found", {"field": "flag", "value": key})
    tagged = _encode(wire_decision(key, user, decision))
    text = b'%b,"asof":%b}' % (tagged[:-1], _encode(decided.asof))
    return _answer(request, text, tagged, decided, _cached_s(flag, decision, decided.asof))


def _required(value: str | None, name: str, code: str) -> str:
    if value is None or not value.strip():
        raise Invalid(
            f"{name} parameter is required and cannot be empty",
            {"field": name, "value": value, "remedy": f"send ?{name}=…", "error": code},
        )
    identifier({name: value}, name)
    return value


def _cached_s(flag: Flag | None, decision: Decision, asof: Mapping[str, Any]) -> int:
    """Seconds for which clients need not ask again: none for an uncertain answer, and never beyond a change by time."""
    if flag is None or not flag.cache_s or decision.reason in ("STALE", "ERROR"):
        return 0
    match decision.fresh_until_ms:
        case NoInstant.NEVER:
            return flag.cache_s
        case NoInstant.UNKNOWN:
            return 0
        case int(until_ms):
            return max(0, min(flag.cache_s, (until_ms - int(asof["now"])) // 1000))


# ── many flags ───────────────────────────────────────────────────────────────────────────────────────────────────


@router.post(
    "/v1/decide",
    responses={200: {"model": StreamedDecisionsOut, "headers": _ETAG}, 304: _NOT_MODIFIED},
)
async def decide_many(request: Request) -> Response:
    """Several flags for one user, as of one moment; all flags where none are named. An unknown flag is an ERROR.

    `stream` asks for the address at which a change is told, behind the API's own: of all flags, while one can be had.
    """
    engine: Engine = request.app.state.engine
    caller = await engine.require(
        request.headers.get("authorization"), key_in_query(request.scope["query_string"]), _DECIDE_MANY
    )
    try:
        body = _decode(await body_of(request, engine.settings.event_bytes_max))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("body", "no JSON", f"send a JSON object ({error})") from None
    if not isinstance(body, dict):
        raise invalid("body", body, "send a JSON object")
    ids = ids_in(body)
    user = ids.user or ids.email or ids.anonymous
    if user is None:
        raise invalid("userId", body.get("userId"), "send userId, anonymousId, externalId, deviceId or emailHash")
    explain, with_stream = _yes_or_no(body, "explain"), _yes_or_no(body, "stream")
    keys = _flag_keys(body.get("flags"))
    path: str | None = None
    if with_stream and keys is None:
        deciding = decisions(engine, caller, ids, None, explain)
        decided, path = await decided_with_stream(request, caller, "decide", ids, deciding)
    else:
        decided = await decisions(engine, caller, ids, keys, explain)
    tagged = _encode([wire_decision(key, user, decision) for key, decision in decided.decisions.items()])
    stream = b"" if path is None or not decided.asof else b',"stream":%b' % _encode(path)
    text = b'{"userId":%b,"decisions":%b,"asof":%b%b}' % (_encode(user), tagged, _encode(decided.asof), stream)
    held_s = [_cached_s(decided.flags.get(key), decision, decided.asof) for key, decision in decided.decisions.items()]
    return _answer(request, text, tagged + _STREAM if stream else tagged, decided, min(held_s, default=0))


def tag_with_stream(decided: Decided, ids: Ids) -> str:
    """The tag of the answer with these decisions of all flags, where it has the address of a stream."""
    user = ids.user or ids.email or ids.anonymous or ""
    tagged = _encode([wire_decision(key, user, decision) for key, decision in decided.decisions.items()])
    return _tag(tagged + _STREAM, decided)


def _yes_or_no(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if not isinstance(value, (bool, type(None))):
        raise invalid(name, value, "send true or false")
    return bool(value)


def _flag_keys(flags: Any) -> list[str] | None:
    """The keys that a body names, each once; None for all flags. Raises `Invalid`."""
    if flags is None:
        return None
    if not isinstance(flags, list):
        raise invalid("flags", flags, "send a list of flag keys, or leave it out for all flags")
    if len(flags) > FLAGS_MAX:
        raise invalid("flags", f"{len(flags)} flags", f"name at most {FLAGS_MAX}")
    for index, key in enumerate(flags):
        if not isinstance(key, str) or not key.strip() or len(key) > ID_CHARACTERS_MAX:
            raise invalid(f"flags[{index}]", key, f"send a flag key of 1 to {ID_CHARACTERS_MAX} characters")
    return list(dict.fromkeys(flags))


# ── caching ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _answer(request: Request, text: bytes, tagged: bytes, decided: Decided, cache_s: int) -> Response:
    """The answer, or 304 where the client holds one that says the same. An answer of defaults is never cached.

    `tagged` is the part of the text that the tag is of: the instant is not in it, so the tag is a weak one.
    """
    if not decided.asof:
        return json_text(text, _NOT_CACHED)
    tag = _tag(tagged, decided)
    cache_control = b"private, max-age=%d" % cache_s if cache_s else b"private, no-cache"
    headers = [(b"etag", tag.encode()), (b"cache-control", cache_control)]
    if client_has(request.headers.get("if-none-match"), tag):
        return Ready(b"", 304, headers)
    return json_text(text, headers)


def _tag(tagged: bytes, decided: Decided) -> str:
    return f'W/"{blake2b(_encode(state_of(decided)) + tagged, digest_size=16).hexdigest()}"'
