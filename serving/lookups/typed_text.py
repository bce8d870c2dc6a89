"""What an editor is told of a text while it is typed: mistakes, completions, its tree; from the catalogue alone.

It reads no lake. It is a question all the same: the longest texts take a tenth of a second, so these are asked beside
the event loop. It takes and gives plain values, in the shape of `serving.api.wire.unsaved_expressions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from expressions.definitions import Definition, DefinitionKind
from expressions.errors import ExpressionError, TreeRefused
from expressions.functions import FUNCTIONS
from expressions.ops import Expr
from expressions.rules.dtypes import ANY, Dtype
from expressions.text.complete import Completion, Place, Seen, completions, signature_of
from expressions.text.contradictions import contradictions
from expressions.text.format import laid_out
from expressions.text.mistakes import mistakes
from expressions.text.tree import beyond_shapes, text_of, tree_of
from serving.definitions import saving
from serving.definitions.catalogue import Catalogue, decode
from serving.refusals import Invalid

#: The key of a definition that has none yet.
KEY = "unsaved_expression"


class Typed(NamedTuple):
    """A text, or a tree in its place, and what is asked of it."""

    kind: DefinitionKind
    text: str
    tree: Mapping[str, Any] | None
    parts: Collection[str]
    position: int | None
    key: str | None


def told_of(catalogue: Catalogue, vocabulary: Mapping[str, Any] | None, typed: Typed) -> dict[str, Any]:
    """All that the catalogue and the names in the lake (`serving.lookups.vocabulary`; None if unknown) tell of a text.

    With `text`, the text that was read, where it came as a tree.
    """
    kind, text = typed.kind, typed.text
    told: dict[str, Any] = {"valid": False}
    if typed.tree is not None:
        try:
            text = told["text"] = text_of(typed.tree)
        except ExpressionError as error:
            return told | {"error": str(error), "errors": [_wire_mistake(error)], "text": error.text or None}
    if "completions" in typed.parts:
        position = len(text) if typed.position is None else typed.position
        place, found = completions(text, position, _seen(catalogue, vocabulary))
        told |= {"completions": [_wire_completion(one) for one in found], "wanted": _wire_place(place)}
    try:
        bound = saving.bound_alone(catalogue, Definition(kind, typed.key or KEY, text))
    except Invalid as refusal:
        told |= {"error": refusal.message, "details": refusal.details}
        errors = mistakes(text, kind, catalogue.bounds)
        if not errors and isinstance(refusal.__cause__, ExpressionError):
            errors = [refusal.__cause__]  # a cycle, or too much with all that it refers to
        return told | {"errors": [_wire_mistake(error) for error in errors]}
    told |= {
        "valid": True,
        "type": sorted(bound.dtype),
        "references": [f"{kind} '{key}'" for kind, key in sorted(bound.uses)],
        "warnings": contradictions(bound),
    }
    if "text" in typed.parts:
        told["text"] = laid_out(bound.written)
    if "tree" in typed.parts:
        told |= {"tree": tree_of(bound.written), "beyond": _wire_beyond(beyond_shapes(bound.written), text)}
    return told


def told_beside(catalogue_text: bytes, vocabulary: Mapping[str, Any] | None, typed: Typed) -> dict[str, Any]:
    """The same, in a process beside the API."""
    return told_of(_compiled(catalogue_text), vocabulary, typed)


@lru_cache(maxsize=1)
def _compiled(catalogue_text: bytes) -> Catalogue:
    """The catalogue of a text; whoever types asks again and again about the same one."""
    return decode(catalogue_text)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _LastVocabulary:
    """The vocabulary that was asked for last, in the shape of `Seen`."""

    vocabulary: Mapping[str, Any] | None = None
    seen = Seen()


def _seen(catalogue: Catalogue, vocabulary: Mapping[str, Any] | None) -> Seen:
    """The names that completions offer: those in the lake, and those that definitions read."""
    if vocabulary is not None and _LastVocabulary.vocabulary is not vocabulary:
        _LastVocabulary.seen, _LastVocabulary.vocabulary = _seen_of(vocabulary), vocabulary
    seen = _LastVocabulary.seen if vocabulary is not None else Seen()
    read = catalogue.projection
    events = {event: dict.fromkeys(sorted(names), ANY) for event, names in read.events.items() if event is not None}
    attributes: dict[tuple[str, ...], Dtype] = {(key,): ANY for key in sorted(read.attributes)}
    return Seen(
        events={**seen.events, **{event: {**names, **seen.events.get(event, {})} for event, names in events.items()}},
        counts=seen.counts,
        attributes={**attributes, **seen.attributes},
        traits={key: bound.dtype for (kind, key), bound in catalogue.bounds.items() if kind == "trait"},
        segments=tuple(key for kind, key in catalogue.bounds if kind == "segment"),
    )


def _seen_of(vocabulary: Mapping[str, Any]) -> Seen:
    def dtypes(fields: Any) -> dict[str, Dtype]:
        return {field["name"]: frozenset(field["kinds"]) for field in fields}

    return Seen(
        events={event["name"]: dtypes(event["properties"]) for event in vocabulary["events"]},
        counts={event["name"]: event["count"] for event in vocabulary["events"]},
        attributes={(one["key"], *one["path"]): frozenset(one["kinds"]) for one in vocabulary["attributes"]},
    )


# ── on the wire ──────────────────────────────────────────────────────────────────────────────────────────────────


def _wire_mistake(error: ExpressionError) -> dict[str, Any]:
    return {
        "message": error.message,
        "code": error.code,
        "start": error.at.start,
        "end": error.at.end,
        "line": error.line,
        "column": error.column,
        "expected": error.expected,
        "nearest": list(error.nearest),
        "way": error.way if isinstance(error, TreeRefused) else None,
    }


def _wire_completion(one: Completion) -> dict[str, Any]:
    return {
        "label": one.label,
        "text": one.text,
        "start": one.at.start,
        "end": one.at.end,
        "kind": one.kind,
        "type": sorted(one.dtype),
        "signature": one.signature,
        "detail": one.detail,
    }


def _wire_place(place: Place) -> dict[str, Any]:
    function = FUNCTIONS.get(place.call or "")
    return {
        "wants": place.wants,
        "names": list(place.names),
        "event": place.event,
        "signature": "" if function is None else signature_of(function),
        "detail": "" if function is None else function.says,
        "compared": place.compared,
    }


def _wire_beyond(part: Expr | None, text: str) -> dict[str, Any] | None:
    if part is None or part.at is None:
        return None
    message, at = "this text is beyond the shapes of a builder", part.at
    return {"message": message, "text": text[at.start : at.end], "start": at.start, "end": at.end}
