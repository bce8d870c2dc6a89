"""Decisions over HTTP: one flag, or many for one person with one read. What is broken answers defaults, never an error.

An answer carries an ETag of what it says, the flag's version and each id's last seq: a client that asks again is told
304 until the person sends something, the flag is changed, or anything, be it time alone, changes the decision. A flag
with `cache_seconds` lets clients not ask for so long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

import msgspec
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.api.dependencies import MISSING
from serving.api.users import read_person
from serving.api.wire.flags import DecidedOut, DecisionsOut
from serving.definitions.flags import Flag
from serving.engine import Engine
from serving.http.answers import Ready, json_text
from serving.http.bodies import body_of
from serving.ids import ID_CHARACTERS_MAX, Ids, identifier, ids_in, namespaced
from serving.people.decide import Decider, Decision, error_decision
from serving.refusals import Invalid, NotFound, Refusal, Unavailable, cut, invalid
from serving.store.base_codec import CodecError
from serving.store.errors import StoreError
from serving.times import rfc3339

log = structlog.get_logger()

router = APIRouter(tags=["users"])
_ETAG = {"ETag": {"description": "changes with the answer", "schema": {"type": "string"}}}
_NOT_MODIFIED: dict[str, Any] = {"description": "as before", "headers": _ETAG}

#: Flags that one request may name.
FLAGS_MAX = 1_000

_NOT_KEPT = [(b"cache-control", b"no-store")]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Decided(msgspec.Struct, frozen=True):
    """Decisions by flag, in the order asked for, and what they rest on: nothing (`asof` empty) when that is away.

    `flags` are those that are known; one that is not has a decision with reason ERROR all the same.
    """

    decisions: Mapping[str, Decision]
    flags: Mapping[str, Flag]
    asof: Mapping[str, Any]


async def decisions(engine: Engine, ids: Ids, keys: Sequence[str] | None, explain: bool = False) -> Decided:
    """What these flags, or all, say for the person whom the ids name; nobody where they name none.

    Raises `Unavailable` alone, and only when all flags are asked for and none are known.
    """
    named = ids.strongest_first
    try:
        who = await read_person(engine, *named[:1])
    except (Refusal, StoreError, CodecError) as error:
        without = _without_person(engine, keys, error)
        engine.tally.decided(without.decisions.values())
        return without
    flags = who.catalogue.flags
    device = None if ids.anonymous is None else namespaced("anon", ids.anonymous)
    decider = Decider(who, device, with_tree=explain)
    found = {key: _guarded(decider, key, flags) for key in (sorted(flags) if keys is None else keys)}
    engine.tally.decided(found.values())
    engine.tally.read(who.reading.records)
    lacking = list(dict.fromkeys(one for decision in found.values() for one in decision.lacking))
    if lacking:
        with suppress(Refusal):  # the decision stands; the next one asks again
            await engine.want_rebuild_of(lacking)
    return Decided(found, flags, who.asof)


def _guarded(decider: Decider, key: str, flags: Mapping[str, Flag]) -> Decision:
    """One decision; a mistake of ours is the flag's default and a line in the log, and leaves the other flags."""
    if key not in flags:
        return error_decision(f"Flag '{cut(key)}' not found")
    try:
        return decider.decision(key)
    except CodecError as error:
        return error_decision(str(error), flags[key])
    except Exception as error:
        log.error("undecided", flag=key, exc_info=error)
        return error_decision("the flag could not be evaluated", flags[key])


def _without_person(engine: Engine, keys: Sequence[str] | None, error: Exception) -> Decided:
    """Defaults, as far as this process has ever learned of the flags."""
    if engine.catalogue is None:
        if keys is None:
            raise Unavailable("definitions are away", {"remedy": "try again"}, retry_after_s=1) from error
        return Decided({key: error_decision(str(error)) for key in keys}, {}, {})
    flags = engine.catalogue.flags
    asked = sorted(flags) if keys is None else keys
    found = {
        key: error_decision(str(error), flags[key]) if key in flags else error_decision(f"Flag '{cut(key)}' not found")
        for key in asked
    }
    return Decided(found, flags, {})


# ── one flag ─────────────────────────────────────────────────────────────────────────────────────────────────────


@router.get(
    "/v1/decide",
    responses={200: {"model": DecidedOut, "headers": _ETAG}, 304: _NOT_MODIFIED, **MISSING},
)
async def decide(request: Request) -> Response:
    """Whether a flag is on for a user, and why. A broken dependency gives the flag's default and reason ERROR."""
    engine: Engine = request.app.state.engine
    query = request.query_params
    engine.keys.require(request.headers.get("authorization"), query.get("apiKey"), "read")
    ids = ids_in(query)
    user = _required(ids.user or ids.email or ids.anonymous, "userId", "INVALID_USER_ID")
    key = _required(query.get("flag"), "flag", "INVALID_FLAG_KEY")
    decided = await decisions(engine, ids, (key,), query.get("explain") in ("true", "1"))
    flag, found = decided.flags.get(key), decided.decisions[key]
    if flag is None and (decided.asof or decided.flags):
        raise NotFound(f"Flag '{cut(key)}' not found", {"field": "flag", "value": key})
    body = shown(key, user, found)
    said = _encode(body)
    asof = b',"asof":%b}' % _encode(decided.asof)  # beside what is said, as it is not part of the tag
    return _answered(request, said[:-1] + asof, said, decided, _cached(flag, found, decided.asof))


def _required(value: str | None, name: str, code: str) -> str:
    if value is None or not value.strip():
        raise Invalid(
            f"{name} parameter is required and cannot be empty",
            {"field": name, "value": value, "remedy": f"send ?{name}=…", "error": code},
        )
    identifier({name: value}, name)
    return value


def shown(key: str, user: str, found: Decision) -> dict[str, Any]:
    """A decision as the wire shows it, without what it rests on."""
    body = {
        "allow": found.allow,
        "variant": found.variant,
        "value": found.value,
        "reasons": found.reasons,
        "reason": found.reason,
        "userId": user,
        "flag": key,
    }
    if found.explanation is not None:
        body["valid_until"] = None if found.valid_until_ms is None else rfc3339(found.valid_until_ms)
        body["explanation"] = found.explanation
    return body


def _cached(flag: Flag | None, found: Decision, asof: Mapping[str, Any]) -> int:
    """For how many seconds clients need not ask again: never beyond the flag's schedule, nor what is not certain."""
    if flag is None or found.reason in ("STALE", "ERROR"):
        return 0
    if found.fresh_until_ms is None:
        return flag.cache_s
    return max(0, min(flag.cache_s, (found.fresh_until_ms - int(asof["now"])) // 1000))


# ── many flags ───────────────────────────────────────────────────────────────────────────────────────────────────


@router.post(
    "/v1/decide",
    responses={200: {"model": DecisionsOut, "headers": _ETAG}, 304: _NOT_MODIFIED},
)
async def decide_many(request: Request) -> Response:
    """Several flags for one user, all where none are named, as of one moment. One that is not known is an ERROR."""
    engine: Engine = request.app.state.engine
    engine.keys.require(request.headers.get("authorization"), request.query_params.get("apiKey"), "read")
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
    explain = body.get("explain")
    if not isinstance(explain, (bool, type(None))):
        raise invalid("explain", explain, "send true or false")
    decided = await decisions(engine, ids, _keys(body.get("flags")), bool(explain))
    found = _encode([shown(key, user, one) for key, one in decided.decisions.items()])
    text = b'{"userId":%b,"decisions":%b,"asof":%b}' % (_encode(user), found, _encode(decided.asof))
    return _answered(request, text, found, decided, 0)


def _keys(given: Any) -> list[str] | None:
    if given is None:
        return None
    if not isinstance(given, list):
        raise invalid("flags", given, "send a list of flag keys, or leave it out for all flags")
    if len(given) > FLAGS_MAX:
        raise invalid("flags", f"{len(given)} flags", f"name at most {FLAGS_MAX}")
    for at, key in enumerate(given):
        if not isinstance(key, str) or not key.strip() or len(key) > ID_CHARACTERS_MAX:
            raise invalid(f"flags[{at}]", key, f"send a flag key of 1 to {ID_CHARACTERS_MAX} characters")
    return list(dict.fromkeys(given))


# ── caching ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _answered(request: Request, text: bytes, said: bytes, decided: Decided, cache_s: int) -> Response:
    """The answer, or 304 where the client holds one that says the same. What is broken is nobody's to keep."""
    if not decided.asof:
        return json_text(text, _NOT_KEPT)
    held = blake2b(_encode(state_of(decided)) + said, digest_size=16).hexdigest()  # weak: the instant is not in it
    kept = b"private, max-age=%d" % cache_s if cache_s else b"private, no-cache"
    headers = [(b"etag", b'W/"%b"' % held.encode()), (b"cache-control", kept)]
    if _is_held(request.headers.get("if-none-match"), held):
        return Ready(b"", 304, headers)
    return json_text(text, headers)


def state_of(decided: Decided) -> tuple[list[int], list[tuple[str, int]]]:
    """What answers rest on, for their tags: the versions of the flags, and how far the events of each id go.

    The instant and a rebuild's stamps are no part of it, since they change no answer.
    """
    versions = [decided.flags[key].version for key in decided.decisions if key in decided.flags]
    return versions, [(one, held["seq"]) for one, held in decided.asof["ids"].items()]


def _is_held(if_none_match: str | None, tag: str) -> bool:
    if if_none_match is None:
        return False
    return any(one.strip() in (f'W/"{tag}"', f'"{tag}"', "*") for one in if_none_match.split(","))
