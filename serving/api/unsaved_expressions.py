"""Expressions that are not saved, over HTTP: checked as saving would check them, and tried on everybody."""

from __future__ import annotations

from collections.abc import Sequence

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends

from expressions.definitions import Bound, Definition, DefinitionKind
from expressions.errors import ExpressionError, TreeRefused
from expressions.functions import FUNCTIONS
from expressions.ops import Expr
from expressions.plan import plan
from expressions.rules.dtypes import ANY
from expressions.text.complete import Completion, Place, Seen, completions, signature_of
from expressions.text.contradictions import contradictions
from expressions.text.format import format_expression
from expressions.text.mistakes import mistakes
from expressions.text.tree import beyond_shapes, text_of, tree_of
from serving.api.dependencies import EngineOf, require_admin
from serving.api.wire import unsaved_expressions as wire
from serving.api.wire.unsaved_expressions import Cost, PreviewBody, PreviewOut, ValidateBody, Validated
from serving.definitions import saving
from serving.definitions.catalogue import Catalogue, encode
from serving.engine import Engine
from serving.lookups import unsaved_expressions
from serving.lookups.warnings import warnings
from serving.lookups.worker import in_worker
from serving.refusals import Invalid, Unavailable, invalid

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)])

KINDS: dict[str, DefinitionKind] = {"trait": "trait", "segment": "segment", "flag": "flag"}
#: What a call that names no parts is answered with.
PARTS: tuple[wire.Part, ...] = ("warnings", "cost")
#: A longer text is read in a thread, one at a time: reading the longest takes tens of milliseconds.
SHORT_CHARACTERS = 1_000
_long_texts = CapacityLimiter(1)


@router.post("/validate", tags=["admin"], response_model_exclude_none=True)
async def validate(body: ValidateBody, engine: EngineOf) -> Validated:
    """Checks an expression as saving would, without saving it; and helps an editor by the parts that it asks for.

    Only the parts `warnings` and `cost` read the lake. A call that names no parts is answered with these two.
    """
    kind = kind_of("type", body.type)
    if body.tree is None and body.expression is None:
        raise invalid("expression", None, "write one", "unable to decode request body: expression: Field required")
    if body.parts is None and body.tree is None and not (body.expression or "").strip():
        raise invalid("expression", body.expression, "write one", "Expression is required and cannot be empty")
    catalogue = await engine.current()
    seen = Seen(
        {event: dict.fromkeys(names, ANY) for event, names in catalogue.projection.events.items() if event},
        attributes=dict.fromkeys(catalogue.projection.attributes, ANY),
        traits={key: bound.dtype for (of, key), bound in catalogue.bounds.items() if of == "trait"},
        segments=tuple(key for of, key in catalogue.bounds if of == "segment"),
    )
    if body.tree is None and len(body.expression or "") <= SHORT_CHARACTERS:
        answer, bound = _read(body, kind, catalogue, seen)
    else:
        answer, bound = await to_thread.run_sync(_read, body, kind, catalogue, seen, limiter=_long_texts)
    if bound is not None:
        await _ask_the_lake(answer, bound, PARTS if body.parts is None else body.parts, catalogue, engine)
    return answer


async def _ask_the_lake(
    answer: Validated, bound: Bound, parts: Sequence[wire.Part], catalogue: Catalogue, engine: Engine
) -> None:
    """Adds the parts of an answer that the lake knows."""
    if "cost" in parts:
        needed, kept = plan([bound.expr]), catalogue.plan
        is_live = set(needed.needs) <= set(kept.needs) and set(needed.attributes) <= set(kept.attributes)
        definition = bound.definition
        try:
            source, text = await engine.source(), encode(catalogue)
            bytes_per_user = await in_worker(
                unsaved_expressions.cost, source, text, definition.kind, definition.expression, engine.clock_ms()
            )
        except Unavailable:
            bytes_per_user = None  # the lake is away: whether the expression is valid is known all the same
        answer.cost = Cost(bytesPerUser=bytes_per_user, live=is_live)
    if "warnings" in parts:
        answer.warnings = await warnings(engine, bound)


def _read(body: ValidateBody, kind: DefinitionKind, catalogue: Catalogue, seen: Seen) -> tuple[Validated, Bound | None]:
    """The answer, as far as the text and the catalogue tell it; and the bound definition where it is valid."""
    parts = PARTS if body.parts is None else body.parts
    try:
        text = body.expression or "" if body.tree is None else text_of(body.tree)
    except ExpressionError as error:
        return Validated(valid=False, error=str(error), errors=[_wire_mistake(error)], text=error.text or None), None
    answer = Validated(valid=True)
    if body.tree is not None:
        answer.text = text
    if "completions" in parts:
        place, found = completions(text, len(text) if body.position is None else body.position, seen)
        answer.completions, answer.wanted = [_wire_completion(one) for one in found], _wire_wanted(place)
    definition = Definition(kind, body.key or unsaved_expressions.KEY, text)
    try:
        bound = saving.bound_alone(catalogue, definition)
    except Invalid as refusal:
        answer.valid, answer.error, answer.details = False, refusal.message, refusal.details
        found_mistakes = mistakes(text, kind, catalogue.bounds)
        if not found_mistakes and isinstance(refusal.__cause__, ExpressionError):
            found_mistakes = [refusal.__cause__]
        answer.errors = [_wire_mistake(error) for error in found_mistakes]
        return answer, None
    answer.type = sorted(bound.dtype)
    answer.references = [f"{kind} '{key}'" for kind, key in sorted(bound.uses)]
    answer.warnings = contradictions(bound)
    if "text" in parts:
        answer.text = format_expression(bound.written)
    if "tree" in parts:
        answer.tree, answer.beyond = tree_of(bound.written), _wire_beyond(beyond_shapes(bound.written), text)
    return answer, bound


def _wire_mistake(error: ExpressionError) -> wire.Mistake:
    return wire.Mistake(
        message=error.message,
        code=error.code,
        start=error.at.start,
        end=error.at.end,
        line=error.line,
        column=error.column,
        expected=error.expected,
        nearest=list(error.nearest),
        way=error.way if isinstance(error, TreeRefused) else None,
    )


def _wire_completion(one: Completion) -> wire.Completion:
    return wire.Completion(
        label=one.label,
        text=one.text,
        start=one.at.start,
        end=one.at.end,
        kind=one.kind,
        type=sorted(one.dtype),
        signature=one.signature,
        detail=one.detail,
    )


def _wire_wanted(place: Place) -> wire.Wanted:
    function = FUNCTIONS.get(place.call or "")
    return wire.Wanted(
        wants=place.wants,
        names=list(place.names),
        event=place.event,
        signature="" if function is None else signature_of(function),
        detail="" if function is None else function.says,
        compared=place.compared,
    )


def _wire_beyond(part: Expr | None, text: str) -> wire.Beyond | None:
    if part is None or part.at is None:
        return None
    at = part.at
    return wire.Beyond(
        message="this text is beyond the shapes of a builder", text=text[at.start : at.end], start=at.start, end=at.end
    )


@router.post("/preview", tags=["people"])
async def preview(body: PreviewBody, engine: EngineOf) -> PreviewOut:
    """For how many people an unsaved expression holds, from the lake as it is now, and some of them with their values.

    Events that are not drained yet, those of the last second or so, are not in it.
    """
    kind = kind_of("type", body.type)
    catalogue = await engine.current()
    saving.bound_alone(catalogue, Definition(kind, unsaved_expressions.KEY, body.expression))
    source, text = await engine.source(), encode(catalogue)
    preview = await in_worker(
        unsaved_expressions.preview, source, text, kind, body.expression, engine.clock_ms(), body.sample
    )
    return PreviewOut.model_validate(preview)


def kind_of(field: str, sent: str) -> DefinitionKind:
    """The kind of definition that a field of a body names. Raises `Invalid`."""
    kind = KINDS.get(sent)
    if kind is None:
        message = f"{field.capitalize()} must be one of: trait, segment, flag"
        raise invalid(field, sent, "use trait, segment or flag", message)
    return kind
