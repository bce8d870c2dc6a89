"""What a person is: decisions of flags, traits and segments, live."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from expressions.explain import explained
from expressions.to_state import Key
from expressions.values import to_json
from serving.answers import json_answer
from serving.catalogue import Catalogue, Stored
from serving.codec import CodecError
from serving.decide import Decision, decision, disabled, failed
from serving.engine import Engine
from serving.errors import StoreError
from serving.ids import identifier, ids_in, record_of
from serving.profile import Person, person
from serving.refusals import Invalid, NotFound, Unavailable
from serving.wire import DecisionOut, ErrorOut

REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorOut} for status in (400, 401, 403, 404)}
router = APIRouter(tags=["users"], responses=REFUSALS)


@router.get("/v1/decide", responses={200: {"model": DecisionOut}})
async def decide(request: Request) -> Response:
    """Whether a flag is on for a user, and why. A broken dependency gives the flag's default and reason ERROR."""
    engine: Engine = request.app.state.engine
    query = request.query_params
    engine.keys.require(request.headers.get("authorization"), query.get("apiKey"), "read")
    ids = ids_in(query)
    named = ids.strongest_first
    user = _required(ids.user or ids.email or ids.anonymous, "userId", "INVALID_USER_ID")
    key = _required(query.get("flag"), "flag", "INVALID_FLAG_KEY")
    found, asof = await _decided(engine, named[0], key, with_tree=query.get("explain") in ("true", "1"))
    body = {
        "allow": found.allow,
        "variant": found.variant,
        "value": found.value,
        "reasons": found.reasons,
        "reason": found.reason,
        "userId": user,
        "flag": key,
        "asof": asof,
    }
    if found.explanation is not None:
        body["explanation"] = found.explanation
    return json_answer(body, headers={"Cache-Control": "private, no-cache"})


def _required(value: str | None, name: str, code: str) -> str:
    if value is None or not value.strip():
        raise Invalid(
            f"{name} parameter is required and cannot be empty",
            {"field": name, "value": value, "remedy": f"send ?{name}=…", "error": code},
        )
    identifier({name: value}, name)
    return value


async def _decided(engine: Engine, namespaced_id: str, key: str, with_tree: bool) -> tuple[Decision, dict[str, Any]]:
    """The decision and what it rests on. Only a flag that is not known raises, `NotFound`."""
    held = engine.catalogue
    try:
        who = await read_person(engine, namespaced_id)
    except (Unavailable, StoreError, CodecError) as error:
        flag = held.definitions.get(("flag", key)) if held is not None else None
        if held is not None and flag is None:
            raise NotFound(f"Flag '{key}' not found", {"field": "flag", "value": key}) from error
        default = bool(flag.settings.get("default", False)) if flag else False
        return failed(str(error), default), {}
    flag = who.catalogue.definitions.get(("flag", key))
    if flag is None:
        raise NotFound(f"Flag '{key}' not found", {"field": "flag", "value": key})
    found = flag_decision(who, flag, with_tree)
    if found.lacking:
        await engine.want_rebuild_of(found.lacking)
    return found, who.asof()


def flag_decision(who: Person, flag: Stored, with_tree: bool = False) -> Decision:
    """What a flag says for a person: its rule, or why it is not asked."""
    default = bool(flag.settings.get("default", False))
    if not flag.settings.get("enabled", True):
        return disabled(default)
    own: Key = ("flag", flag.key)
    named = who.catalogue.references[own]
    answers = who.answers([*dict.fromkeys(named), own])
    return decision(
        named,
        {one: answer.value for one, answer in answers.values.items()},
        bool(answers.values[own].value),
        is_warming=bool(answers.warming),
        is_static=who.catalogue.needed_versions[own] == 0,
        default=default,
        lacking=answers.lacking,
        explanation=explained(who.catalogue.bounds, own, who.frame) if with_tree else None,
    )


async def read_person(engine: Engine, *ids: str) -> Person:
    """The person that an id belongs to, with the catalogue of that moment; nobody where no id is given."""
    reading = await engine.read_person(ids[0]) if ids else await engine.read(())
    catalogue = await engine.at_least(reading.catalogue_version)
    return person(reading, catalogue, engine.bases)


@router.get("/v1/users/{user}/traits")
async def traits(user: str, request: Request) -> Response:
    """All traits and segments of a user, live. `warming` names those whose value is only the value so far."""
    engine: Engine = request.app.state.engine
    engine.keys.require(request.headers.get("authorization"), request.query_params.get("apiKey"), "admin")
    identifier({"userId": user}, "userId")
    who = await read_person(engine, record_of(user))
    body, lacking = all_values(who)
    if lacking:
        await engine.want_rebuild_of(lacking)
    return json_answer(body)


def all_values(who: Person) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every trait and segment of a person as the wire shows them, and the ids that need a rebuild of their own."""
    keys = _values_of(who.catalogue)
    answers = who.answers(keys)
    shown = {key: to_json(answers.values[key].value) for key in keys}
    return {
        "traits": {key: value for (kind, key), value in shown.items() if kind == "trait"},
        "segments": {key: value for (kind, key), value in shown.items() if kind == "segment"},
        "asof": answers.asof,
        "exact": answers.exact,
        "warming": sorted({key for _, key in answers.warming}),
    }, answers.lacking


def _values_of(catalogue: Catalogue) -> list[Key]:
    return sorted(key for key in catalogue.definitions if key[0] != "flag")
