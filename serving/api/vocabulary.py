"""The names that expressions are made of, over HTTP: those in the lake, of definitions, and of the language."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from expressions.aggregates import AGGREGATES
from expressions.functions import FUNCTIONS
from expressions.rules.dtypes import KINDS, Dtype, Kind
from expressions.text.complete import signature_of
from expressions.text.typecheck import aggregate_dtype
from serving import ids
from serving.api.dependencies import EngineOf, require_admin
from serving.api.wire.vocabulary import ValuesOut, VocabularyOut
from serving.definitions.catalogue import Catalogue
from serving.ingest.accept import NAME_CHARACTERS_MAX
from serving.lookups.people import ALIAS_KINDS
from serving.lookups.vocabulary import attribute_values, property_values
from serving.lookups.warnings import seen_in_lake
from serving.lookups.worker import in_worker
from serving.refusals import invalid

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["admin"])

Name = Annotated[str | None, Query(max_length=NAME_CHARACTERS_MAX)]
#: Names inside an attribute's value.
#: With the other parameters, and a key, as many as a query may have (`serving.http.connection`).
Names = Annotated[list[str] | None, Query(max_length=28)]


@router.get("/vocabulary")
async def read_vocabulary(engine: EngineOf) -> VocabularyOut:
    """Names of events, properties and attributes as seen in the lake, and of all that expressions may refer to.

    Those in the lake are as of `asof`, which is at most 5 minutes ago, or longer while the lake is away.
    """
    catalogue = await engine.current()
    seen = await engine.vocabulary.of(lambda: seen_in_lake(engine))
    return VocabularyOut.model_validate(seen | _known(catalogue))


@router.get("/vocabulary/values")
async def read_values(
    engine: EngineOf, event: Name = None, property: Name = None, attribute: Name = None, path: Names = None
) -> ValuesOut:
    """Examples of values of an event's property, or of an attribute, read now; they are never stored."""
    if attribute is not None and event is None and property is None:
        return ValuesOut.model_validate(
            await in_worker(attribute_values, await engine.source(), attribute, list(path or ()))
        )
    if event is None or property is None or attribute is not None or path:
        raise invalid("event", event, "name an event and a property, or an attribute")
    return ValuesOut.model_validate(await in_worker(property_values, await engine.source(), event, property))


def _known(catalogue: Catalogue) -> dict[str, Any]:
    """The names of definitions and of the language."""
    fields = {"user": ids.USER_FIELDS, "anon": ids.ANONYMOUS_FIELDS, "email": ids.EMAIL_FIELDS}
    return {
        "ids": [{"kind": ALIAS_KINDS[kind], "prefix": kind, "fields": list(fields[kind])} for kind in ids.ID_KINDS],
        "traits": [
            {
                "key": trait.key,
                "type": _kinds(catalogue.bounds["trait", trait.key].dtype),
                "description": trait.settings.get("description", ""),
            }
            for trait in catalogue.of_kind("trait")
        ],
        "segments": [
            {"key": segment.key, "description": segment.settings.get("description", "")}
            for segment in catalogue.of_kind("segment")
        ],
        "functions": [
            {"name": function.name, "signature": signature_of(function), "says": function.says}
            for function in FUNCTIONS.values()
            if not function.internal
        ],
        "aggregates": [
            {
                "name": aggregate.name,
                "type": _kinds(aggregate_dtype(aggregate.name, has_property=True)),
                "property": aggregate.takes,
                "dates": aggregate.dates,
                "says": aggregate.says,
            }
            for aggregate in AGGREGATES.values()
        ],
    }


def _kinds(dtype: Dtype) -> list[Kind]:
    return [kind for kind in KINDS if kind in dtype]
