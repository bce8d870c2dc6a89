"""What a person is: traits and segments, live."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from expressions.definitions import Key
from expressions.rules.values import to_json
from serving.api.user_paths import UserRoute
from serving.definitions.catalogue import Catalogue
from serving.engine import Engine
from serving.http.answers import json_answer
from serving.ids import identifier, record_of
from serving.people.person import Person, person

router = APIRouter(tags=["users"], route_class=UserRoute)


async def read_person(engine: Engine, *ids: str) -> Person:
    """The person that an id belongs to, with the catalogue of that moment; nobody where no id is given."""
    reading = await engine.read_person(ids[0]) if ids else await engine.read(())
    catalogue = await engine.at_least(reading.catalogue_version)
    return person(reading, catalogue, engine.bases)


@router.get("/v1/users/{user:id}/traits")
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
